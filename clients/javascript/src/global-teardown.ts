import { stopShared } from "./global-setup.js";

/** `globalTeardown` of Jest: stops the server of `@greenroom/testkit/global-setup`. */
export default stopShared;

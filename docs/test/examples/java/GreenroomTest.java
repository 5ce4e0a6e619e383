/** A test without a test library: {@code GREENROOM_ENDPOINT=… java -ea -cp classes GreenroomTest}. */
public final class GreenroomTest {
    public static void main(String[] arguments) {
        Greenroom greenroom = new Greenroom(System.getenv("GREENROOM_ENDPOINT"));
        String stage = greenroom.stage("lobby");
        check(stage.contains(":" + greenroom.account() + ":stage/"), "the stage is of the account: " + stage);
        String alice = greenroom.join(stage, "alice");
        String participants = greenroom.call("GET", "/participants", "");
        check(participants.contains(alice), "the participant is listed: " + participants);
        check(greenroom.waitForEvent("Participant Published"), "an event was sent");
        try {
            greenroom.join("no-such-stage", "bob");
            check(false, "a missing stage is an error");
        } catch (IllegalStateException error) {
            check(error.getMessage().contains("stage"), "the error names the member: " + error.getMessage());
        }
        greenroom.failOnce("CreateStage", "ConflictException");
        greenroom.reset();
        check(greenroom.call("GET", "/participants", "").contains("[]"), "the account is empty after its reset");
        System.out.println("5 checks passed");
    }

    private static void check(boolean condition, String text) {
        if (!condition) throw new AssertionError(text);
    }
}

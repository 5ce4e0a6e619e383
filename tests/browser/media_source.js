// A worker that generates a picture and a sound. Both come from one clock: every second has a flash of 100 ms at the top left
// of the picture and, at the same time, a louder tone.
//
// The picture is a texture that moves, with noise, so that an encoder uses all of its bitrate.

const RATE = 48000;
const SIGNAL_MS = 100;

function texture(width, height) {
  const pixels = new Uint8Array(width * height);
  // The same picture in each run: xorshift instead of Math.random.
  let state = 88172645;
  const random = () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 4294967296;
  };
  const blocks = Array.from({ length: 4096 }, random);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const block = blocks[((y >> 4) * 61 + (x >> 4)) & 4095];
      pixels[y * width + x] = 48 + 120 * block + 24 * random();
    }
  }
  return pixels;
}

async function video(writable, { width, height, fps }, start) {
  const writer = writable.getWriter();
  const margin = 128;
  const pixels = texture(width + margin, height + margin);
  const stride = width + margin;
  const frame = new Uint8Array((width * height * 3) / 2).fill(128);
  const mark = height >> 2;
  for (let number = 0; ; number += 1) {
    const at = (number * 1000) / fps;
    const wait = start + at - performance.now();
    if (wait > 0) await new Promise((done) => setTimeout(done, wait));
    // A worker that was late drops frames, as a camera does.
    if (wait < -1000 / fps) continue;
    const left = Math.round((margin / 2) * (1 + Math.sin(number / 20)));
    const top = Math.round((margin / 2) * (1 + Math.cos(number / 27)));
    for (let y = 0; y < height; y += 1) {
      const from = (top + y) * stride + left;
      frame.set(pixels.subarray(from, from + width), y * width);
    }
    const level = at % 1000 < SIGNAL_MS ? 235 : 16;
    for (let y = 0; y < mark; y += 1) frame.fill(level, y * width, y * width + mark);
    const timestamp = Math.round(1000 * at);
    await writer.write(new VideoFrame(frame, { format: "I420", codedWidth: width, codedHeight: height, timestamp }));
  }
}

async function audio(writable, { channels, silent }, start) {
  const writer = writable.getWriter();
  const length = RATE / 100;
  for (let chunk = 0; ; chunk += 1) {
    const wait = start + 10 * chunk - performance.now();
    if (wait > 0) await new Promise((done) => setTimeout(done, wait));
    const data = new Float32Array(length * channels);
    const level = silent ? 0 : (10 * chunk) % 1000 < SIGNAL_MS ? 0.6 : 0.05;
    for (let channel = 0; channel < channels; channel += 1) {
      const step = (2 * Math.PI * (440 + 220 * channel)) / RATE;
      for (let at = 0; at < length; at += 1) {
        data[channel * length + at] = level * Math.sin(step * (chunk * length + at));
      }
    }
    const timestamp = 10000 * chunk;
    const format = { format: "f32-planar", sampleRate: RATE, numberOfChannels: channels, numberOfFrames: length };
    await writer.write(new AudioData({ ...format, timestamp, data }));
  }
}

// The writers fail when the page stops its tracks.
onmessage = ({ data }) => {
  const start = performance.now() + 100;
  if (data.video) video(data.video, data.picture, start).catch(() => {});
  if (data.audio) audio(data.audio, data.sound, start).catch(() => {});
};

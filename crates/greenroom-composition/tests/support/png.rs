//! PNG files of pictures, for people.

use greenroom_codecs::picture::Picture;

/// Encodes a picture of limited range with BT.709 colours, in 16 levels of each, which makes small files of drawings.
pub fn encode(picture: &Picture) -> Vec<u8> {
    let (width, height) = (picture.width(), picture.height());
    let rows = (0..height).map(|y| (0..width).flat_map(|x| rgb(super::pixel(picture, x, y))).collect::<Vec<_>>());
    // Filter 0: the samples as they are.
    let filtered: Vec<_> = rows.flat_map(|row| [vec![0], row].concat()).collect();
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let size = [width, height].map(|side| u32::try_from(side).unwrap().to_be_bytes());
    chunk(&mut file, b"IHDR", &[size.concat(), vec![8, 2, 0, 0, 0]].concat());
    chunk(&mut file, b"IDAT", &miniz_oxide::deflate::compress_to_vec_zlib(&filtered, 9));
    chunk(&mut file, b"IEND", &[]);
    file
}

fn rgb([y, u, v]: [u8; 3]) -> [u8; 3] {
    let (y, u, v) = ((f32::from(y) - 16.0) * 1.164, f32::from(u) - 128.0, f32::from(v) - 128.0);
    [y + 1.793 * v, y - 0.213 * u - 0.533 * v, y + 2.112 * u]
        .map(|color| (color.clamp(0.0, 255.0) / 17.0).round() as u8 * 17)
}

fn chunk(file: &mut Vec<u8>, name: &[u8], data: &[u8]) {
    file.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
    file.extend([name, data].concat());
    let crc = [name, data].concat().iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    });
    file.extend((!crc).to_be_bytes());
}

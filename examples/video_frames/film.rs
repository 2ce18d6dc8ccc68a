//! What is in the frames: a red box that bounces about in front of a moving gradient. Any frame follows from its number, so whoever has one can check it.

use serde::{Deserialize, Serialize};
use std::path::Path;
use std::{fs, io};

/// Red, green, blue and opacity.
type Pixel = [u8; 4];
const RED: Pixel = [255, 0, 0, 255];

/// Width and height, in pixels.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Film {
    pub(crate) width: usize,
    pub(crate) height: usize,
}

impl Film {
    /// How many bytes a frame has.
    pub(crate) fn bytes(self) -> usize {
        self.width * self.height * size_of::<Pixel>()
    }

    fn bytes_of_row(self) -> usize {
        self.width * size_of::<Pixel>()
    }

    /// How wide and high the box is.
    fn side(self) -> usize {
        self.width.min(self.height).div_ceil(8)
    }

    /// The column and the row in which the box begins.
    fn corner(self, frame: u64) -> (usize, usize) {
        let bounce = |way: u64, room: usize| {
            let way = (way % (2 * room as u64).max(1)) as usize;
            way.min(2 * room - way)
        };
        (bounce(7 * frame, self.width - self.side()), bounce(5 * frame, self.height - self.side()))
    }

    /// The gradient is the same in all rows.
    fn background(frame: u64, column: usize) -> Pixel {
        [0, (column as u64 / 8 + frame) as u8, 128, 255]
    }

    /// Sets every pixel.
    pub(crate) fn draw(self, frame: u64, pixels: &mut [u8]) {
        let row = self.bytes_of_row();
        for (column, pixel) in pixels[..row].as_chunks_mut().0.iter_mut().enumerate() {
            *pixel = Self::background(frame, column);
        }
        for number in 1..self.height {
            pixels.copy_within(..row, number * row);
        }
        let (left, top) = self.corner(frame);
        for row in pixels.chunks_exact_mut(row).skip(top).take(self.side()) {
            row.as_chunks_mut().0[left..left + self.side()].fill(RED);
        }
    }

    /// Whether every pixel of these rows, the first ones of a frame, is as it should be.
    pub(crate) fn is_right(self, frame: u64, rows: &[u8]) -> bool {
        let (left, top) = self.corner(frame);
        let without_box: Vec<Pixel> = (0..self.width).map(|column| Self::background(frame, column)).collect();
        let mut with_box = without_box.clone();
        with_box[left..left + self.side()].fill(RED);
        let (without_box, with_box) = (without_box.as_flattened(), with_box.as_flattened());
        let expected = |row| if (top..top + self.side()).contains(&row) { with_box } else { without_box };
        rows.chunks_exact(self.bytes_of_row()).enumerate().all(|(number, row)| row == expected(number))
    }

    /// Writes a picture in the format PPM, which many programs show and which has no opacity.
    pub(crate) fn save(self, pixels: &[u8], path: &Path) -> io::Result<()> {
        let mut picture = format!("P6 {} {} 255\n", self.width, self.height).into_bytes();
        picture.extend(pixels.as_chunks().0.iter().flat_map(|&[red, green, blue, _]| [red, green, blue]));
        fs::write(path, picture)
    }
}

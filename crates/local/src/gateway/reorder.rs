//! Frames of one connection in another order, repeatable under a seed.

use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use super::settings::Reorder;

/// The frames of one connection that wait to be shuffled. The order depends on the seed, the connection's ordinal and the grouping only.
#[derive(Debug)]
pub(super) struct Window<T> {
    settings: Reorder,
    random: StdRng,
    held: Vec<T>,
}

impl<T> Window<T> {
    pub(super) fn new(settings: Reorder, connection_ordinal: u64) -> Self {
        Self { settings, random: StdRng::seed_from_u64(settings.seed ^ connection_ordinal.rotate_left(32)), held: Vec::new() }
    }

    /// Holds a frame. Once the window is full, returns all held frames, shuffled, to be dispatched now.
    pub(super) fn push(&mut self, frame: T) -> Vec<T> {
        self.held.push(frame);
        if self.held.len() >= self.settings.window { self.flush() } else { Vec::new() }
    }

    /// Everything that is held, shuffled.
    pub(super) fn flush(&mut self) -> Vec<T> {
        let mut frames = std::mem::take(&mut self.held);
        frames.shuffle(&mut self.random);
        frames
    }

    /// Whether a frame waits for its neighbours.
    pub(super) fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    pub(super) fn quiet(&self) -> std::time::Duration {
        self.settings.quiet
    }

    /// Whether frames that are held when the socket closes are dispatched after `$disconnect`, as late messages on AWS may be.
    /// Drawn at random.
    pub(super) fn lags_behind_disconnect(&mut self) -> bool {
        self.random.random_bool(0.5)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(seed: u64, ordinal: u64) -> Vec<u32> {
        let mut window = Window::new(Reorder::seeded(seed), ordinal);
        let mut dispatched: Vec<u32> = (0..30).flat_map(|frame| window.push(frame)).collect();
        dispatched.extend(window.flush());
        dispatched
    }

    #[test]
    fn a_frame_moves_only_within_its_window_and_connections_differ() {
        assert_ne!(order(7, 0), order(7, 1));
        let dispatched = order(7, 0);
        assert_ne!(dispatched, (0..30).collect::<Vec<_>>());
        for (window, frames) in dispatched.chunks(4).enumerate() {
            let mut frames = frames.to_vec();
            frames.sort_unstable();
            let first = u32::try_from(window * 4).unwrap();
            assert_eq!(frames, (first..(first + 4).min(30)).collect::<Vec<_>>());
        }
    }
}

//! Histograms by time: a frame for each second or minute, in it a cell for each series that had calls.
//!
//! New frames are *hot*: cells that are added to in place. A frame that is over is *cooled* into a few bytes a cell;
//! what comes late for it makes hot cells again, which are cooled into another layer. So nothing is too late while its
//! frame is kept, and a quiet day costs next to nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::exemplar::Exemplars;
use super::histogram::Histogram;

type HashMap<K, V> = hashbrown::HashMap<K, V, RandomState>;

/// Layers of one frame before they are merged into one.
const LAYERS_MAX: usize = 4;

/// More hot cells than this (about 1 KiB each) are cooled early, but for the newest frame.
const HOT_CELLS_MAX: usize = 20_000;

/// What is added to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cell {
    pub(crate) histogram: Histogram,
    /// Of minutes only.
    pub(crate) exemplars: Exemplars,
}

/// Cells at rest: sorted ids with the place where each one's histogram begins.
#[derive(Debug)]
pub(crate) struct Cold {
    places: Box<[(u32, u32)]>,
    bytes: Box<[u8]>,
}

impl Cold {
    fn new(cells: &BTreeMap<u32, Histogram>) -> Self {
        let mut bytes = Vec::new();
        let mut places = Vec::with_capacity(cells.len());
        for (&id, histogram) in cells {
            places.push((id, bytes.len() as u32));
            histogram.write(&mut bytes);
        }
        Self { places: places.into(), bytes: bytes.into() }
    }

    /// The cell of `id`.
    pub(crate) fn get(&self, id: u32) -> Option<Histogram> {
        let at = self.places.binary_search_by_key(&id, |&(id, _)| id).ok()?;
        Histogram::read(&mut &self.bytes[self.places[at].1 as usize..])
    }

    /// All cells.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, Histogram)> {
        self.places
            .iter()
            .filter_map(|&(id, at)| Some((id, Histogram::read(&mut &self.bytes[at as usize..])?)))
    }

    fn weight(&self) -> usize {
        self.bytes.len() + 8 * self.places.len() + 64
    }
}

#[derive(Debug, Default)]
struct Frame {
    hot: HashMap<u32, u32>,
    cold: Vec<Arc<Cold>>,
}

/// What is kept, and for how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keep {
    /// Frames, the one under way among them.
    pub(crate) frames: u32,
    /// Of these the newest stay hot.
    pub(crate) hot: u32,
    /// Bytes of cooled frames; the oldest go first.
    pub(crate) bytes: usize,
}

/// Frames of one length.
#[derive(Debug)]
pub(crate) struct Frames {
    keep: Keep,
    frames: BTreeMap<u32, Frame>,
    cells: Vec<Cell>,
    free: Vec<u32>,
    cold_bytes: usize,
}

/// One frame as it is read: what rests is shared, what is hot is copied.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) time: u32,
    pub(crate) cold: Vec<Arc<Cold>>,
    pub(crate) hot: Vec<(u32, Histogram)>,
}

impl Frames {
    pub(crate) fn new(keep: Keep) -> Self {
        Self { keep, frames: BTreeMap::new(), cells: Vec::new(), free: Vec::new(), cold_bytes: 0 }
    }

    /// The place of the cell of `id` in the frame of `time`, made where there is none. It stays until the next
    /// [`Frames::cool`].
    pub(crate) fn place(&mut self, time: u32, id: u32) -> u32 {
        let frame = self.frames.entry(time).or_default();
        *frame.hot.entry(id).or_insert_with(|| {
            self.free.pop().unwrap_or_else(|| {
                self.cells.push(Cell::default());
                self.cells.len() as u32 - 1
            })
        })
    }

    #[inline]
    pub(crate) fn cell(&mut self, place: u32) -> &mut Cell {
        &mut self.cells[place as usize]
    }

    /// The first frame that is kept at `now`.
    pub(crate) fn first_kept(&self, now: u32) -> u32 {
        (now + 1).saturating_sub(self.keep.frames)
    }

    /// Whether hot cells take too much room.
    pub(crate) fn is_crowded(&self) -> bool {
        self.cells.len() - self.free.len() > HOT_CELLS_MAX
    }

    /// Cools what is over and forgets what is too old. Each cell is shown as it is cooled.
    pub(crate) fn cool(&mut self, now: u32, mut cooled: impl FnMut(u32, u32, &Cell)) {
        let first = self.first_kept(now);
        while let Some(entry) = self.frames.first_entry()
            && *entry.key() < first
        {
            let time = *entry.key();
            self.cool_frame(time, &mut cooled);
            self.forget_oldest();
        }
        let over = if self.is_crowded() { now } else { (now + 1).saturating_sub(self.keep.hot) };
        let times: Vec<u32> =
            self.frames.range(..over).filter(|(_, frame)| !frame.hot.is_empty()).map(|(&t, _)| t).collect();
        times.into_iter().for_each(|time| self.cool_frame(time, &mut cooled));
        while self.cold_bytes > self.keep.bytes && self.frames.len() > 1 {
            if let Some(&oldest) = self.frames.keys().next() {
                self.cool_frame(oldest, &mut cooled);
            }
            self.forget_oldest();
        }
    }

    /// Cools every frame.
    pub(crate) fn cool_all(&mut self, mut cooled: impl FnMut(u32, u32, &Cell)) {
        let times: Vec<u32> = self.frames.keys().copied().collect();
        times.into_iter().for_each(|time| self.cool_frame(time, &mut cooled));
    }

    fn cool_frame(&mut self, time: u32, cooled: &mut impl FnMut(u32, u32, &Cell)) {
        let Some(frame) = self.frames.get_mut(&time) else { return };
        let mut cells = BTreeMap::new();
        for (id, place) in frame.hot.drain() {
            let cell = std::mem::take(&mut self.cells[place as usize]);
            cooled(time, id, &cell);
            cells.insert(id, cell.histogram);
            self.free.push(place);
        }
        frame.hot = HashMap::default();
        self.add_layer(time, cells);
    }

    /// Adds cells that rest already.
    pub(crate) fn add_layer(&mut self, time: u32, mut cells: BTreeMap<u32, Histogram>) {
        if cells.is_empty() {
            return;
        }
        let frame = self.frames.entry(time).or_default();
        if frame.cold.len() == LAYERS_MAX {
            for layer in frame.cold.drain(..) {
                self.cold_bytes -= layer.weight();
                layer.iter().for_each(|(id, histogram)| cells.entry(id).or_default().merge(&histogram));
            }
        }
        let layer = Arc::new(Cold::new(&cells));
        self.cold_bytes += layer.weight();
        frame.cold.push(layer);
    }

    fn forget_oldest(&mut self) {
        if let Some((_, frame)) = self.frames.pop_first() {
            self.cold_bytes -= frame.cold.iter().map(|layer| layer.weight()).sum::<usize>();
        }
    }

    /// The oldest frame there is.
    pub(crate) fn oldest(&self) -> Option<u32> {
        self.frames.keys().next().copied()
    }

    /// The frames of `times`, with the hot cells that `wanted` asks for.
    pub(crate) fn see(&self, times: std::ops::Range<u32>, wanted: impl Fn(u32) -> bool) -> Vec<Seen> {
        if times.is_empty() {
            return Vec::new();
        }
        let seen = self.frames.range(times).map(|(&time, frame)| Seen {
            time,
            cold: frame.cold.clone(),
            hot: frame
                .hot
                .iter()
                .filter(|(id, _)| wanted(**id))
                .map(|(&id, &place)| (id, self.cells[place as usize].histogram.clone()))
                .collect(),
        });
        seen.collect()
    }

    /// Hot cells: time, id, cell.
    pub(crate) fn hot(&self) -> impl Iterator<Item = (u32, u32, &Cell)> {
        self.frames.iter().flat_map(move |(&time, frame)| {
            frame.hot.iter().map(move |(&id, &place)| (time, id, &self.cells[place as usize]))
        })
    }
}

impl Seen {
    /// The calls of one series.
    pub(crate) fn get(&self, id: u32) -> Histogram {
        let mut histogram = Histogram::default();
        let cold = self.cold.iter().filter_map(|layer| layer.get(id));
        cold.for_each(|layer| histogram.merge(&layer));
        self.hot.iter().filter(|(known, _)| *known == id).for_each(|(_, hot)| histogram.merge(hot));
        histogram
    }

    /// All series that had calls, each perhaps in several pieces.
    pub(crate) fn pieces(&self, mut each: impl FnMut(u32, &Histogram)) {
        self.cold.iter().for_each(|layer| layer.iter().for_each(|(id, histogram)| each(id, &histogram)));
        self.hot.iter().for_each(|(id, histogram)| each(*id, histogram));
    }
}

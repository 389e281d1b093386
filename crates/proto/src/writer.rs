use rmp::encode::{self, ByteBuf};

/// Writes MessagePack into memory, which cannot fail.
#[derive(Default)]
pub(crate) struct Writer(ByteBuf);

const IN_MEMORY: &str = "writing to memory cannot fail";

impl Writer {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Writer(ByteBuf::with_capacity(bytes))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.as_slice().len()
    }

    pub(crate) fn into_vec(self) -> Vec<u8> {
        self.0.into_vec()
    }

    pub(crate) fn array(&mut self, len: usize) {
        encode::write_array_len(&mut self.0, length(len)).expect(IN_MEMORY);
    }

    pub(crate) fn map(&mut self, len: usize) {
        encode::write_map_len(&mut self.0, length(len)).expect(IN_MEMORY);
    }

    pub(crate) fn unsigned(&mut self, value: u64) {
        encode::write_uint(&mut self.0, value).expect(IN_MEMORY);
    }

    pub(crate) fn signed(&mut self, value: i64) {
        encode::write_sint(&mut self.0, value).expect(IN_MEMORY);
    }

    pub(crate) fn nil(&mut self) {
        encode::write_nil(&mut self.0).expect(IN_MEMORY);
    }

    pub(crate) fn text(&mut self, text: &str) {
        encode::write_str(&mut self.0, text).expect(IN_MEMORY);
    }

    pub(crate) fn binary(&mut self, bytes: &[u8]) {
        encode::write_bin(&mut self.0, bytes).expect(IN_MEMORY);
    }

    /// The head of so many binary bytes, which are to be appended [raw](Self::raw).
    pub(crate) fn binary_head(&mut self, len: usize) {
        encode::write_bin_len(&mut self.0, length(len)).expect(IN_MEMORY);
    }

    /// Appends MessagePack that is encoded already.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.0.as_mut_vec().extend_from_slice(bytes);
    }
}

fn length(len: usize) -> u32 {
    u32::try_from(len).expect("limits keep every length below 2^32")
}

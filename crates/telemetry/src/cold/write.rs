//! A Parquet file of row groups, written page by page.
//!
//! In: gathered columns. Out: a file that any reader of Parquet understands, and the chunks of our index. Keys that a
//! row group does not have get a page of nulls at the end, when all keys are known: so a unit is read once.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{self, Compression, ConvertedType, Repetition, ZstdLevel};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::file::metadata::{
    ColumnChunkMetaData, FileMetaData, ParquetMetaDataBuilder, ParquetMetaDataWriter, RowGroupMetaData,
};
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::{SchemaDescriptor, Type};

use super::Map;
use super::attributes::AttributeColumn;
use super::gather::{Data, Field};
use super::index::{Chunk, Encoding, Place};
use super::pack;
use super::pages::{
    Distinct, PAGE_ROWS, Pages, bit_pages, distinct, fixed_pages, number_pages, string_pages,
};
use crate::column::AttributeType;
use crate::model::Signal;

/// How values are stored: what tells two columns of one key apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Physical {
    Text,
    Bytes,
    Int,
    Double,
    Bool,
    Fixed(u8),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct FileColumn {
    field: Field,
    key: Box<[u8]>,
    physical: Physical,
    optional: bool,
}

/// Where a chunk stands in the file, as Parquet's footer says it.
struct Standing {
    column: usize,
    dictionary: Option<u64>,
    data: u64,
    stored: u64,
    raw: u64,
    encoding: basic::Encoding,
    packed: bool,
}

/// A file being written.
pub(super) struct Writer {
    signal: Signal,
    sink: TrackedWrite<File>,
    columns: Vec<FileColumn>,
    by_column: Map<FileColumn, usize>,
    groups: Vec<(usize, Vec<Standing>)>,
    packer: zstd::bulk::Compressor<'static>,
}

fn failed(error: parquet::errors::ParquetError) -> io::Error {
    match error {
        // A full disk must be told from a defect.
        parquet::errors::ParquetError::External(source) => match source.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(source) => io::Error::other(source),
        },
        other => io::Error::other(other),
    }
}

impl Writer {
    pub(super) fn new(file: File, signal: Signal) -> io::Result<Self> {
        let mut sink = TrackedWrite::new(file);
        sink.write_all(b"PAR1")?;
        let packer = zstd::bulk::Compressor::new(1)?;
        Ok(Self { signal, sink, columns: Vec::new(), by_column: Map::default(), groups: Vec::new(), packer })
    }

    /// Begins the next row group.
    pub(super) fn begin_group(&mut self, rows: usize) {
        self.groups.push((rows, Vec::new()));
    }

    /// Writes a field of the row group begun last.
    pub(super) fn field(&mut self, field: Field, data: &Data, rows: usize) -> io::Result<Chunk> {
        let physical = match (field, data) {
            (Field::Resource | Field::Scope | Field::Rest, _) => Physical::Bytes,
            (Field::AdjustedCount, _) => Physical::Double,
            (_, Data::Strings { .. }) => Physical::Text,
            (_, Data::Numbers { .. }) => Physical::Int,
            (_, Data::Fixed { width, .. }) => Physical::Fixed(*width as u8),
        };
        let optional = matches!(field, Field::ParentId | Field::Rest);
        let column = FileColumn { field, key: Box::default(), physical, optional };
        self.chunk(column, AttributeType::Any, data, rows, None)
    }

    /// Writes an attribute of the row group begun last; `distinct` numbers as [`distinct`] found them.
    pub(super) fn attribute(
        &mut self,
        attribute: &AttributeColumn,
        rows: usize,
        distinct: Option<&Distinct>,
    ) -> io::Result<Chunk> {
        let physical = match (&attribute.data, attribute.kind) {
            (Data::Fixed { width, .. }, _) => Physical::Fixed(*width as u8),
            (_, AttributeType::Text) => Physical::Text,
            (_, AttributeType::Int) => Physical::Int,
            (_, AttributeType::Double) => Physical::Double,
            (_, AttributeType::Bool) => Physical::Bool,
            (_, AttributeType::Bytes | AttributeType::Any) => Physical::Bytes,
        };
        let key = attribute.key.clone();
        let column = FileColumn { field: Field::Attribute, key, physical, optional: true };
        self.chunk(column, attribute.kind, &attribute.data, rows, distinct)
    }

    fn chunk(
        &mut self,
        column: FileColumn,
        kind: AttributeType,
        data: &Data,
        rows: usize,
        found: Option<&Distinct>,
    ) -> io::Result<Chunk> {
        let plain = match column.physical {
            Physical::Double => Encoding::PlainNumbers,
            _ => Encoding::Deltas,
        };
        let pages = match data {
            Data::Strings { codes, entries } => string_pages(codes, entries, column.optional),
            Data::Fixed { width, bytes, there } => fixed_pages(*width, bytes, there),
            Data::Numbers { values, there } if column.physical == Physical::Bool => bit_pages(values, there),
            Data::Numbers { values, there } => match found {
                Some(found) => number_pages(values, there, Some(found), plain),
                None => {
                    let own = match column.field {
                        Field::Start | Field::Duration => None,
                        _ => distinct(values, there),
                    };
                    number_pages(values, there, own.as_ref(), plain)
                }
            },
        };
        // Ids that never repeat do not get smaller.
        let packed = !matches!(
            (column.field, column.physical),
            (Field::SpanId, _) | (Field::Attribute, Physical::Fixed(_))
        );
        let mut chunk = Chunk {
            field: column.field,
            encoding: pages.encoding,
            packed,
            optional: column.optional,
            width: match column.physical {
                Physical::Fixed(width) => width,
                _ => 8,
            },
            entries: pages.dictionary.as_ref().map_or(0, |(_, entries)| *entries),
            dictionary: Place::default(),
            pages: Vec::new(),
            key: column.key.clone(),
            kind,
        };
        let next = self.columns.len();
        let number = *self.by_column.entry(column.clone()).or_insert(next);
        if number == next {
            self.columns.push(column);
        }
        self.put(number, &mut chunk, pages, rows)?;
        Ok(chunk)
    }

    fn put(&mut self, column: usize, chunk: &mut Chunk, pages: Pages, rows: usize) -> io::Result<()> {
        let encoding = match chunk.encoding {
            Encoding::Strings | Encoding::Numbers => basic::Encoding::RLE_DICTIONARY,
            Encoding::Deltas => basic::Encoding::DELTA_BINARY_PACKED,
            _ => basic::Encoding::PLAIN,
        };
        let start = self.sink.bytes_written() as u64;
        let mut standing = Standing {
            column,
            dictionary: None,
            data: start,
            stored: 0,
            raw: 0,
            encoding,
            packed: chunk.packed,
        };
        if let Some((raw, entries)) = pages.dictionary {
            let page = |buf| Page::DictionaryPage {
                buf,
                num_values: entries,
                encoding: basic::Encoding::PLAIN,
                is_sorted: false,
            };
            chunk.dictionary = self.page(&raw, chunk.packed, page, &mut standing)?;
            standing.dictionary = Some(start);
            standing.data = self.sink.bytes_written() as u64;
        }
        for (number, raw) in pages.pages.iter().enumerate() {
            let page = |buf| Page::DataPage {
                buf,
                num_values: (rows - number * PAGE_ROWS).min(PAGE_ROWS) as u32,
                encoding,
                def_level_encoding: basic::Encoding::RLE,
                rep_level_encoding: basic::Encoding::RLE,
                statistics: None,
            };
            let place = self.page(raw, chunk.packed, page, &mut standing)?;
            chunk.pages.push(place);
        }
        if let Some((_, chunks)) = self.groups.last_mut() {
            chunks.push(standing);
        }
        Ok(())
    }

    fn page(
        &mut self,
        raw: &[u8],
        packed: bool,
        page: impl FnOnce(Bytes) -> Page,
        standing: &mut Standing,
    ) -> io::Result<Place> {
        let stored = if packed { self.packer.compress(raw)? } else { raw.to_vec() };
        let crc = crc32fast::hash(&stored);
        let len = stored.len() as u64;
        let page = CompressedPage::new(page(Bytes::from(stored)), raw.len());
        let spec = SerializedPageWriter::new(&mut self.sink).write_page(page).map_err(failed)?;
        standing.stored += spec.bytes_written;
        standing.raw += spec.uncompressed_size as u64;
        let offset = spec.offset + spec.bytes_written - len;
        Ok(Place { offset, stored: len as u32, raw: raw.len() as u32, crc })
    }

    /// Writes what row groups lack, and the footer; the disk has it all when this comes back. Answers its bytes.
    pub(super) fn finish(mut self) -> io::Result<u64> {
        for number in 0..self.groups.len() {
            self.fill_up(number)?;
        }
        let schema = Arc::new(SchemaDescriptor::new(Arc::new(self.schema()?)));
        let mut groups = Vec::new();
        for (rows, chunks) in &mut self.groups {
            chunks.sort_by_key(|chunk| chunk.column);
            let columns = chunks.iter().map(|chunk| {
                let codec = if chunk.packed {
                    Compression::ZSTD(ZstdLevel::default())
                } else {
                    Compression::UNCOMPRESSED
                };
                ColumnChunkMetaData::builder(schema.column(chunk.column))
                    .set_encodings(vec![basic::Encoding::PLAIN, basic::Encoding::RLE, chunk.encoding])
                    .set_compression(codec)
                    .set_num_values(*rows as i64)
                    .set_total_compressed_size(chunk.stored as i64)
                    .set_total_uncompressed_size(chunk.raw as i64)
                    .set_data_page_offset(chunk.data as i64)
                    .set_dictionary_page_offset(chunk.dictionary.map(|offset| offset as i64))
                    .build()
            });
            let columns = columns.collect::<Result<Vec<_>, _>>().map_err(failed)?;
            let bytes = chunks.iter().map(|chunk| chunk.raw as i64).sum();
            let group = RowGroupMetaData::builder(Arc::clone(&schema))
                .set_num_rows(*rows as i64)
                .set_total_byte_size(bytes)
                .set_column_metadata(columns)
                .build()
                .map_err(failed)?;
            groups.push(group);
        }
        let rows = self.groups.iter().map(|(rows, _)| *rows as i64).sum();
        let created_by = Some(format!("homeostat version {}", env!("CARGO_PKG_VERSION")));
        let metadata = FileMetaData::new(1, rows, created_by, None, schema, None);
        let metadata = ParquetMetaDataBuilder::new(metadata).set_row_groups(groups).build();
        let mut footer = Vec::new();
        ParquetMetaDataWriter::new(&mut footer, &metadata).finish().map_err(failed)?;
        self.sink.write_all(&footer)?;
        let bytes = self.sink.bytes_written() as u64;
        let file = self.sink.into_inner().map_err(failed)?;
        file.sync_all()?;
        Ok(bytes)
    }

    /// Pages of nulls for the columns a row group does not have.
    fn fill_up(&mut self, number: usize) -> io::Result<()> {
        let (rows, chunks) = &self.groups[number];
        let rows = *rows;
        let missing: Vec<usize> = (0..self.columns.len())
            .filter(|column| chunks.iter().all(|chunk| chunk.column != *column))
            .collect();
        let mut raw = Vec::new();
        pack::pack_presence(&vec![false; rows], &mut raw);
        for column in missing {
            let data = self.sink.bytes_written() as u64;
            let encoding = basic::Encoding::PLAIN;
            let mut standing =
                Standing { column, dictionary: None, data, stored: 0, raw: 0, encoding, packed: false };
            let page = |buf| Page::DataPage {
                buf,
                num_values: rows as u32,
                encoding,
                def_level_encoding: basic::Encoding::RLE,
                rep_level_encoding: basic::Encoding::RLE,
                statistics: None,
            };
            self.page(&raw, false, page, &mut standing)?;
            self.groups[number].1.push(standing);
        }
        Ok(())
    }

    fn schema(&self) -> io::Result<Type> {
        let mut names: Vec<String> = Vec::new();
        let mut fields = Vec::new();
        for column in &self.columns {
            let plain = name(self.signal, column);
            let name =
                if names.contains(&plain) { format!("{plain}:{}", suffix(column.physical)) } else { plain };
            let (physical, converted) = match column.physical {
                Physical::Text => (basic::Type::BYTE_ARRAY, ConvertedType::UTF8),
                Physical::Bytes => (basic::Type::BYTE_ARRAY, ConvertedType::NONE),
                Physical::Int => (basic::Type::INT64, ConvertedType::NONE),
                Physical::Double => (basic::Type::DOUBLE, ConvertedType::NONE),
                Physical::Bool => (basic::Type::BOOLEAN, ConvertedType::NONE),
                Physical::Fixed(_) => (basic::Type::FIXED_LEN_BYTE_ARRAY, ConvertedType::NONE),
            };
            let length = match column.physical {
                Physical::Fixed(width) => i32::from(width),
                _ => -1,
            };
            let repetition = if column.optional { Repetition::OPTIONAL } else { Repetition::REQUIRED };
            let field = Type::primitive_type_builder(&name, physical)
                .with_repetition(repetition)
                .with_converted_type(converted)
                .with_length(length)
                .build()
                .map_err(failed)?;
            fields.push(Arc::new(field));
            names.push(name);
        }
        Type::group_type_builder("homeostat").with_fields(fields).build().map_err(failed)
    }
}

/// The name of a column.
fn name(signal: Signal, column: &FileColumn) -> String {
    let spans = signal == Signal::Spans;
    let fixed = match column.field {
        Field::TraceId => "trace_id",
        Field::SpanId => "span_id",
        Field::ParentOffset => "parent_row_offset",
        Field::ParentId => "parent_span_id",
        Field::Start if spans => "start_unix_nano",
        Field::Start => "time_unix_nano",
        Field::Duration if spans => "duration_nano",
        Field::Duration => "observed_unix_nano",
        Field::Kind if spans => "kind",
        Field::Kind => "severity_number",
        Field::Status => "status_code",
        Field::Flags => "flags",
        Field::Name if spans => "name",
        Field::Name => "event_name",
        Field::Message if spans => "status_message",
        Field::Message => "severity_text",
        Field::TraceState => "trace_state",
        Field::Service => "service_name",
        Field::Resource => "resource_otlp",
        Field::Scope => "scope_otlp",
        Field::Shape => "attribute_order",
        Field::Rest => "rest_otlp",
        Field::AdjustedCount => "adjusted_count",
        Field::Attribute if !spans && column.key.is_empty() => "body",
        Field::Attribute => return format!("attributes.{}", String::from_utf8_lossy(&column.key)),
    };
    fixed.to_owned()
}

fn suffix(physical: Physical) -> &'static str {
    match physical {
        Physical::Text => "text",
        Physical::Bytes => "bytes",
        Physical::Int => "int",
        Physical::Double => "double",
        Physical::Bool => "bool",
        Physical::Fixed(8) => "hex16",
        Physical::Fixed(_) => "hex32",
    }
}

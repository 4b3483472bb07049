//! Packed rows: their fields, and where each of them lies.

use super::{SchemaError, check_names};
use crate::limits;
use crate::quantise::{Mode, Quantiser};

/// The type of a field in a packed row. Little endian, no padding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names say it all")]
pub enum FieldType {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    Quant8,
    Quant16,
    Quant24,
    Quant32,
    EntityRef,
}

impl FieldType {
    /// Bytes of the field in a row.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::U8 | Self::I8 | Self::Bool | Self::Quant8 => 1,
            Self::U16 | Self::I16 | Self::Quant16 => 2,
            Self::Quant24 => 3,
            Self::U32 | Self::I32 | Self::F32 | Self::Quant32 | Self::EntityRef => 4,
        }
    }

    /// Whether values are steps between a least and a greatest one.
    #[must_use]
    pub const fn is_quantised(self) -> bool {
        matches!(self, Self::Quant8 | Self::Quant16 | Self::Quant24 | Self::Quant32)
    }
}

/// How a client gets from one value of a field to the next between two ticks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Interpolation {
    /// It jumps.
    #[default]
    Step,
    /// It moves in a straight line.
    Linear,
    /// It turns the short way round; the field's range is one turn.
    Angle,
}

/// One field of a packed row.
#[derive(Clone, PartialEq, Debug)]
pub struct FieldDesc {
    /// What clients look the field up by.
    pub name: Box<str>,
    /// How it lies in the row.
    pub field_type: FieldType,
    /// For quantised types: what happens outside the range.
    pub mode: Mode,
    /// For quantised types: the smallest value.
    pub min: f64,
    /// For quantised types: the largest value.
    pub max: f64,
    /// Advice to renderers.
    pub interpolation: Interpolation,
}

impl FieldDesc {
    /// A field whose type says everything, such as a `U8`.
    #[must_use]
    pub fn new(name: &str, field_type: FieldType) -> Self {
        Self {
            name: name.into(),
            field_type,
            mode: Mode::Clamp,
            min: 0.0,
            max: 1.0,
            interpolation: Interpolation::Step,
        }
    }

    /// A number in `[min, max]`, clamped, that moves in straight lines.
    #[must_use]
    pub fn quantised(name: &str, field_type: FieldType, min: f64, max: f64) -> Self {
        Self { min, max, interpolation: Interpolation::Linear, ..Self::new(name, field_type) }
    }

    /// An angle in radians, wrapped to `[0, 2 pi)`.
    #[must_use]
    pub fn angle(name: &str, field_type: FieldType) -> Self {
        Self {
            mode: Mode::Wrap,
            max: std::f64::consts::TAU,
            interpolation: Interpolation::Angle,
            ..Self::new(name, field_type)
        }
    }
}

/// Where each field of a packed row lies.
#[derive(Clone, PartialEq, Debug)]
pub struct RowLayout {
    fields: Vec<Field>,
    row_bytes: usize,
}

#[derive(Clone, PartialEq, Debug)]
struct Field {
    desc: FieldDesc,
    offset: usize,
    /// Present exactly when the type is quantised.
    quantiser: Option<Quantiser>,
}

/// A field's position in its layout.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FieldId(pub u8);

impl RowLayout {
    pub(super) const EMPTY: Self = Self { fields: Vec::new(), row_bytes: 0 };

    /// Lays `fields` out in order, without padding.
    ///
    /// # Errors
    /// [`SchemaError::FieldsCount`], [`SchemaError::BadName`] or [`SchemaError::BadRange`].
    pub fn new(fields: Vec<FieldDesc>) -> Result<Self, SchemaError> {
        if fields.is_empty() || fields.len() > limits::FIELDS_MAX {
            return Err(SchemaError::FieldsCount);
        }
        check_names(fields.iter().map(|f| &*f.name))?;
        let mut offset = 0;
        let mut laid_out = Vec::with_capacity(fields.len());
        for desc in fields {
            let bytes = desc.field_type.bytes();
            let quantiser = if desc.field_type.is_quantised() {
                let bits = bytes as u32 * 8;
                let quantiser = Quantiser::new(bits, desc.mode, desc.min, desc.max);
                Some(quantiser.ok_or(SchemaError::BadRange)?)
            } else {
                None
            };
            laid_out.push(Field { desc, offset, quantiser });
            offset += bytes;
        }
        Ok(Self { fields: laid_out, row_bytes: offset })
    }

    /// Bytes of a row.
    #[must_use]
    pub fn row_bytes(&self) -> usize {
        self.row_bytes
    }

    /// The fields in row order.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = &FieldDesc> {
        self.fields.iter().map(|field| &field.desc)
    }

    /// Looks a field up by name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<FieldId> {
        let position = self.fields.iter().position(|f| &*f.desc.name == name)?;
        u8::try_from(position).ok().map(FieldId)
    }

    /// Reads a field. Every type fits an `f64` exactly.
    ///
    /// # Panics
    /// When `row` is not a row of this layout.
    #[must_use]
    pub fn read(&self, row: &[u8], field: FieldId) -> f64 {
        let field = &self.fields[usize::from(field.0)];
        let bits = field.bits(row);
        match field.desc.field_type {
            FieldType::I8 => f64::from(bits as u8 as i8),
            FieldType::I16 => f64::from(bits as u16 as i16),
            FieldType::I32 => f64::from(bits as i32),
            FieldType::F32 => f64::from(f32::from_bits(bits)),
            FieldType::U8
            | FieldType::U16
            | FieldType::U32
            | FieldType::Bool
            | FieldType::EntityRef => f64::from(bits),
            FieldType::Quant8 | FieldType::Quant16 | FieldType::Quant24 | FieldType::Quant32 => {
                field.quantiser.map_or(0.0, |quantiser| quantiser.dequantise(bits))
            }
        }
    }

    /// Writes a field, always as a value that [`RowLayout::accepts`]: integers and floats
    /// saturate at the ends of their type, an entity at the highest id, booleans are
    /// `value != 0`, quantised fields follow their mode, NaN becomes 0 or the minimum.
    ///
    /// # Panics
    /// When `row` is not a row of this layout.
    pub fn write(&self, row: &mut [u8], field: FieldId, value: f64) {
        let field = &self.fields[usize::from(field.0)];
        let bits = match field.desc.field_type {
            FieldType::U8 => u32::from(value as u8),
            FieldType::U16 => u32::from(value as u16),
            FieldType::U32 => value as u32,
            FieldType::EntityRef => (value as u32).min(limits::ENTITY_ID_MAX - 1),
            FieldType::I8 => value as i8 as u32,
            FieldType::I16 => value as i16 as u32,
            FieldType::I32 => value as i32 as u32,
            FieldType::F32 if value.is_nan() => 0,
            FieldType::F32 => (value as f32).clamp(f32::MIN, f32::MAX).to_bits(),
            FieldType::Bool => u32::from(value != 0.0),
            FieldType::Quant8 | FieldType::Quant16 | FieldType::Quant24 | FieldType::Quant32 => {
                field.quantiser.map_or(0, |quantiser| quantiser.quantise(value))
            }
        };
        let bytes = field.desc.field_type.bytes();
        row[field.offset..field.offset + bytes].copy_from_slice(&bits.to_le_bytes()[..bytes]);
    }

    /// Whether `row` has the right length and every field holds a value its type allows:
    /// booleans are 0 or 1, floats are finite, quantised values are within their steps.
    #[must_use]
    pub fn accepts(&self, row: &[u8]) -> bool {
        row.len() == self.row_bytes
            && self.fields.iter().all(|field| {
                let bits = field.bits(row);
                match (field.desc.field_type, field.quantiser) {
                    (_, Some(quantiser)) => bits <= quantiser.q_max(),
                    (FieldType::Bool, None) => bits <= 1,
                    (FieldType::F32, None) => f32::from_bits(bits).is_finite(),
                    (FieldType::EntityRef, None) => bits < limits::ENTITY_ID_MAX,
                    // Every bit pattern of the other integers is a value.
                    (_, None) => true,
                }
            })
    }
}

impl Field {
    fn bits(&self, row: &[u8]) -> u32 {
        let bytes = self.desc.field_type.bytes();
        let mut word = [0; 4];
        word[..bytes].copy_from_slice(&row[self.offset..self.offset + bytes]);
        u32::from_le_bytes(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_lie_little_endian_without_padding() {
        let layout = RowLayout::new(vec![
            FieldDesc::new("hp", FieldType::U8),
            FieldDesc::new("dx", FieldType::I16),
            FieldDesc::quantised("x", FieldType::Quant24, 0.0, 16_777_215.0),
            FieldDesc::new("f", FieldType::F32),
            FieldDesc::new("on", FieldType::Bool),
        ])
        .expect("layout");
        let mut row = vec![0; layout.row_bytes()];
        for (name, value) in [("hp", 200.0), ("dx", -2.0), ("x", 66_051.0), ("f", 1.0), ("on", 3.0)]
        {
            layout.write(&mut row, layout.field(name).expect("field"), value);
        }
        assert_eq!(row, [200, 0xfe, 0xff, 3, 2, 1, 0, 0, 0x80, 0x3f, 1]);
        let values: Vec<f64> = (0..5).map(|f| layout.read(&row, FieldId(f))).collect();
        assert_eq!(values, [200.0, -2.0, 66_051.0, 1.0, 1.0]);
        assert!(layout.accepts(&row));
    }

    #[test]
    fn rows_with_impossible_values_are_not_accepted() {
        let rows: [(FieldDesc, &[u8]); 5] = [
            (FieldDesc::new("on", FieldType::Bool), &[2]),
            (FieldDesc::new("f", FieldType::F32), &f32::NAN.to_le_bytes()),
            (FieldDesc::new("f", FieldType::F32), &f32::INFINITY.to_le_bytes()),
            (FieldDesc::quantised("x", FieldType::Quant8, -1.0, 1.0), &[255]),
            (FieldDesc::new("hp", FieldType::U8), &[1, 2]),
        ];
        for (field, row) in rows {
            let name = format!("{field:?}");
            assert!(!RowLayout::new(vec![field]).expect("layout").accepts(row), "{name} {row:?}");
        }
    }

    #[test]
    fn whatever_is_written_is_accepted() {
        let f32_max = f64::from(f32::MAX);
        for (field_type, value, expected) in [
            (FieldType::F32, 1e39, f32_max),
            (FieldType::F32, -1e39, -f32_max),
            (FieldType::F32, f64::INFINITY, f32_max),
            (FieldType::F32, f64::NEG_INFINITY, -f32_max),
            (FieldType::F32, f64::NAN, 0.0),
            (FieldType::EntityRef, 65_535.0, 65_535.0),
            (FieldType::EntityRef, 65_536.0, 65_535.0),
            (FieldType::EntityRef, f64::INFINITY, 65_535.0),
            (FieldType::EntityRef, -1.0, 0.0),
            (FieldType::U8, 1e9, 255.0),
            (FieldType::I16, -1e9, -32_768.0),
            (FieldType::Bool, f64::NAN, 1.0),
            (FieldType::Quant24, f64::INFINITY, 1.0),
        ] {
            let layout = RowLayout::new(vec![FieldDesc::new("f", field_type)]).expect("layout");
            let mut row = vec![0; layout.row_bytes()];
            layout.write(&mut row, FieldId(0), value);
            assert!(layout.accepts(&row), "{field_type:?} {value}: {row:?}");
            assert_eq!(layout.read(&row, FieldId(0)), expected, "{field_type:?} {value}");
        }
    }
}

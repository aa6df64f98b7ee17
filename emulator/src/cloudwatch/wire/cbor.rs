//! CBOR (RFC 8949) as smithy's `rpc-v2-cbor` uses it: times are tag 1, what is a double is written as one.

use std::convert::Infallible;

use minicbor::{
    Decoder, Encoder,
    data::{IanaTag, Tag, Type},
    encode,
};
use serde_json::{Map, Number, Value};

use super::super::{
    model::{Kind, MODEL, Shape},
    refusal::unreadable,
};
use crate::error::ServiceError;

/// Maps and lists inside each other; the deepest shape has a fraction of it.
const DEPTH_MAX: usize = 32;

/// Reads a body.
pub fn read(bytes: &[u8]) -> Result<Value, ServiceError> {
    value(&mut Decoder::new(bytes), 0)
}

fn broken(error: impl std::fmt::Display) -> ServiceError {
    unreadable(format!("The body is not CBOR: {error}"))
}

fn value(decoder: &mut Decoder<'_>, depth: usize) -> Result<Value, ServiceError> {
    if depth > DEPTH_MAX {
        return Err(broken("it is too deep"));
    }
    Ok(match decoder.datatype().map_err(broken)? {
        Type::Bool => decoder.bool().map_err(broken)?.into(),
        Type::Null | Type::Undefined => {
            decoder.skip().map_err(broken)?;
            Value::Null
        }
        Type::U8 | Type::U16 | Type::U32 | Type::U64 => decoder.u64().map_err(broken)?.into(),
        Type::I8 | Type::I16 | Type::I32 | Type::I64 => decoder.i64().map_err(broken)?.into(),
        Type::F16 => number(decoder.f16().map_err(broken)?.into())?,
        Type::F32 => number(decoder.f32().map_err(broken)?.into())?,
        Type::F64 => number(decoder.f64().map_err(broken)?)?,
        Type::String | Type::StringIndef => text(decoder)?.into(),
        Type::Array | Type::ArrayIndef => {
            let length = decoder.array().map_err(broken)?;
            let mut elements = Vec::new();
            while more(decoder, length, elements.len())? {
                elements.push(value(decoder, depth + 1)?);
            }
            Value::Array(elements)
        }
        Type::Map | Type::MapIndef => {
            let length = decoder.map().map_err(broken)?;
            let (mut members, mut read) = (Map::new(), 0);
            while more(decoder, length, read)? {
                let name = text(decoder)?;
                members.insert(name, value(decoder, depth + 1)?);
                read += 1;
            }
            Value::Object(members)
        }
        // Of tags only that of a time is sent here; what is tagged is the value.
        Type::Tag => {
            decoder.tag().map_err(broken)?;
            value(decoder, depth + 1)?
        }
        other => return Err(broken(format!("{other} is not expected"))),
    })
}

/// Whether another element follows; the end of one without a length is taken.
fn more(decoder: &mut Decoder<'_>, length: Option<u64>, read: usize) -> Result<bool, ServiceError> {
    if let Some(length) = length {
        return Ok((read as u64) < length);
    }
    let ends = decoder.datatype().map_err(broken)? == Type::Break;
    if ends {
        decoder.skip().map_err(broken)?;
    }
    Ok(!ends)
}

fn text(decoder: &mut Decoder<'_>) -> Result<String, ServiceError> {
    decoder.str_iter().map_err(broken)?.collect::<Result<String, _>>().map_err(broken)
}

fn number(value: f64) -> Result<Value, ServiceError> {
    Number::from_f64(value).map(Value::Number).ok_or_else(|| broken("a number is not finite"))
}

/// Writes an answer of a shape; without one, each value as it is.
pub fn write(shape: Option<&Shape>, value: &Value) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new());
    // Writing into memory does not fail.
    let _ = put(&mut encoder, shape, value);
    encoder.into_writer()
}

fn put(
    encoder: &mut Encoder<Vec<u8>>,
    shape: Option<&Shape>,
    value: &Value,
) -> Result<(), encode::Error<Infallible>> {
    match value {
        Value::Null => encoder.null()?.ok(),
        Value::Bool(value) => encoder.bool(*value)?.ok(),
        Value::String(text) => encoder.str(text)?.ok(),
        Value::Number(number) => put_number(encoder, shape.map(|shape| shape.kind), number),
        Value::Array(elements) => {
            let element = shape.and_then(|shape| MODEL.element(shape));
            encoder.array(elements.len() as u64)?;
            elements.iter().try_for_each(|value| put(encoder, element, value))
        }
        Value::Object(members) => {
            let said = members.iter().filter(|(_, value)| !value.is_null());
            encoder.map(said.clone().count() as u64)?;
            for (name, value) in said {
                encoder.str(name)?;
                put(encoder, shape.and_then(|shape| MODEL.member(shape, name)), value)?;
            }
            Ok(())
        }
    }
}

fn put_number(
    encoder: &mut Encoder<Vec<u8>>,
    kind: Option<Kind>,
    number: &Number,
) -> Result<(), encode::Error<Infallible>> {
    let float = number.as_f64().unwrap_or_default();
    match (kind, number.as_i64()) {
        (Some(Kind::Timestamp), _) => encoder.tag(Tag::from(IanaTag::Timestamp))?.f64(float)?.ok(),
        (Some(Kind::Double), _) | (_, None) => encoder.f64(float)?.ok(),
        (_, Some(number)) => encoder.i64(number)?.ok(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let value = json!({"a": [1, -2, 2.5, true, "text", {"b": null}], "c": {}, "d": "ü"});
        let mut expected = value.clone();
        expected["a"][5] = json!({});
        assert_eq!(read(&write(None, &value)).unwrap(), expected);
    }

    #[test]
    fn lists_and_maps_and_texts_without_a_length_are_read() {
        // {_ "a": [_ 1, 2], "b": (_ "x", "y")}
        let bytes =
            [0xbf, 0x61, b'a', 0x9f, 1, 2, 0xff, 0x61, b'b', 0x7f, 0x61, b'x', 0x61, b'y', 0xff, 0xff];
        assert_eq!(read(&bytes).unwrap(), json!({"a": [1, 2], "b": "xy"}));
    }

    #[test]
    fn a_time_is_tagged_and_a_double_without_a_fraction_stays_one() {
        let shape = MODEL.output("DescribeAlarms").unwrap();
        let answer = json!({"MetricAlarms": [{"Threshold": 1, "Period": 60, "StateUpdatedTimestamp": 7}]});
        let bytes = write(Some(shape), &answer);
        let holds = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
        assert!(holds(b"iThreshold\xfb\x3f\xf0\0\0\0\0\0\0"), "{bytes:x?}");
        assert!(holds(b"StateUpdatedTimestamp\xc1\xfb"), "{bytes:x?}");
        assert!(holds(b"fPeriod\x18\x3c"), "{bytes:x?}");
    }

    #[test]
    fn what_is_torn_or_too_deep_or_not_finite_is_refused() {
        for bytes in [&[0xa1, 0x61][..], &[0x9f], &[0xf9, 0x7e, 0x00], &[0x82; 100], &[0xff], &[0x1c]] {
            assert_eq!(read(bytes).unwrap_err().code, "SerializationException", "{bytes:x?}");
        }
    }
}

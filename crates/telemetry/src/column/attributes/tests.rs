//! Shapes, types, and what is taken back.

use super::*;

fn read(attributes: &Attributes) -> Vec<Vec<(String, String)>> {
    let mut cursor = attributes.cursor();
    (0..attributes.items().len())
        .map(|item| {
            cursor.seek(item);
            let values = cursor.values();
            values
                .iter()
                .map(|(column, rank)| (column.key().to_owned(), format!("{:?}", column.value(*rank))))
                .collect()
        })
        .collect()
}

#[test]
fn items_of_one_shape_share_it_and_read_back() {
    let mut attributes = Attributes::default();
    let mut hint = u32::MAX;
    for i in 0..3 {
        attributes.begin(hint);
        attributes.push(b"a", Scalar::Int(i), &[]);
        attributes.push(b"b", Scalar::Text(b"x"), &[]);
        hint = attributes.end();
    }
    assert_eq!(attributes.shapes().len(), 1);
    assert_eq!(read(&attributes)[2][0], ("a".to_owned(), "Int(2)".to_owned()));
}

#[test]
fn one_key_with_two_types_has_two_columns() {
    let mut attributes = Attributes::default();
    attributes.begin(u32::MAX);
    attributes.push(b"a", Scalar::Int(1), &[]);
    let hint = attributes.end();
    attributes.begin(hint);
    attributes.push(b"a", Scalar::Bool(true), &[]);
    attributes.end();
    assert_eq!(attributes.columns().len(), 2);
    assert_eq!(read(&attributes)[1][0].1, "Bool(true)");
}

#[test]
fn a_key_given_twice_keeps_both_values() {
    let mut attributes = Attributes::default();
    for _ in 0..2 {
        attributes.begin(0);
        attributes.push(b"a", Scalar::Int(1), &[]);
        attributes.push(b"a", Scalar::Int(2), &[]);
        attributes.end();
    }
    let values: Vec<String> = read(&attributes)[1].iter().map(|(_, value)| value.clone()).collect();
    assert_eq!(values, ["Int(1)", "Int(2)"]);
}

#[test]
fn an_abandoned_item_and_truncated_items_leave_nothing() {
    let mut attributes = Attributes::default();
    for i in 0..4 {
        attributes.begin(0);
        attributes.push(b"a", Scalar::Int(i), &[]);
        attributes.end();
    }
    attributes.begin(0);
    attributes.push(b"a", Scalar::Int(9), &[]);
    attributes.abandon();
    attributes.truncate(1);
    attributes.begin(0);
    attributes.push(b"a", Scalar::Int(7), &[]);
    attributes.end();
    let values: Vec<String> = read(&attributes).concat().into_iter().map(|(_, value)| value).collect();
    assert_eq!(values, ["Int(0)", "Int(7)"]);
}

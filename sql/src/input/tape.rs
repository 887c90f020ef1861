//! Walking a tape: what a parsed JSON text is, flat, each value before what is inside it.

use simd_json::{Node, StaticNode};

/// A value and what is inside it: the first node says what it is, and how far it goes; what stands
/// behind it is not looked at.
pub(super) type Value<'v, 'b> = &'v [Node<'b>];

/// How many nodes the value takes that begins with `node`.
fn span(node: &Node<'_>) -> usize {
    match node {
        Node::Object { count, .. } | Node::Array { count, .. } => count + 1,
        Node::String(_) | Node::Static(_) => 1,
    }
}

pub(super) fn is_null(value: Value<'_, '_>) -> bool {
    matches!(value, [Node::Static(StaticNode::Null), ..])
}

/// The keys of an object, and where in it their values begin, in their order; `None` when it is
/// none.
pub(super) fn entries<'v, 'b>(
    value: Value<'v, 'b>,
) -> Option<impl Iterator<Item = (&'b str, usize)> + use<'v, 'b>> {
    let [Node::Object { len, .. }, ..] = value else {
        return None;
    };
    let mut next = 1;
    Some((0..*len).map_while(move |_| {
        let [Node::String(key), first, ..] = value.get(next..)? else {
            return None;
        };
        let at = next + 1;
        next = at + span(first);
        Some((*key, at))
    }))
}

/// The elements of an array; `None` when it is none.
pub(super) fn elements<'v, 'b>(
    value: Value<'v, 'b>,
) -> Option<impl Iterator<Item = Value<'v, 'b>> + use<'v, 'b>> {
    let [Node::Array { len, .. }, rest @ ..] = value else {
        return None;
    };
    let mut rest = rest;
    Some((0..*len).map_while(move |_| {
        let (element, behind) = rest.split_at(span(rest.first()?));
        rest = behind;
        Some(element)
    }))
}

/// The value for the eyes of its sender: scalars as they are, within bounds, others by their kind.
pub(super) fn shown(value: Value<'_, '_>) -> String {
    match value.first() {
        Some(Node::String(text)) => bounded(&format!("{text:?}")),
        Some(Node::Static(StaticNode::Null)) => "null".to_owned(),
        Some(Node::Static(StaticNode::Bool(value))) => value.to_string(),
        Some(Node::Static(StaticNode::I64(value))) => value.to_string(),
        Some(Node::Static(StaticNode::U64(value))) => value.to_string(),
        Some(Node::Static(StaticNode::F64(value))) => format!("{value:?}"),
        Some(Node::Array { len, .. }) => format!("an array of {len}"),
        Some(Node::Object { .. }) => "an object".to_owned(),
        None => "nothing".to_owned(),
    }
}

/// The first bytes of a text that goes into a reply.
pub(super) fn bounded(text: &str) -> String {
    const MOST_BYTES: usize = 200;
    if text.len() <= MOST_BYTES {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(MOST_BYTES)])
}

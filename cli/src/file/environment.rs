//! `${NAME}` and `${NAME:-default}` in the values of a file.

use super::problem::Problem;
use super::yaml::{Node, Value};

/// Replaces the variables in all values of a tree; keys stay as they are. `$${` is `${`.
pub(crate) fn substitute(
    node: &mut Node,
    variable: &dyn Fn(&str) -> Option<String>,
    problems: &mut Vec<Problem>,
) {
    match &mut node.value {
        Value::Scalar { text, .. } if text.contains("${") => match replaced(text, variable) {
            Ok(replaced) => node.written = Some(std::mem::replace(text, replaced)),
            Err((title, help)) => problems
                .push(Problem::new(node.span.clone(), title, "this names the variable").help(help)),
        },
        Value::Scalar { .. } => {}
        Value::List(elements) => {
            for node in elements {
                substitute(node, variable, problems);
            }
        }
        Value::Map(entries) => {
            for (_, node) in entries {
                substitute(node, variable, problems);
            }
        }
    }
}

fn replaced(
    text: &str,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<String, (String, String)> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if let Some(before) = rest[..at].strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        out.push_str(&rest[..at]);
        let Some((inside, behind)) = rest[at + 2..].split_once('}') else {
            return Err((
                "`${` without its `}`".to_owned(),
                "write `${NAME}`, `${NAME:-default}`, or `$${` where it is meant as it stands"
                    .to_owned(),
            ));
        };
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        let value = variable(name).or_else(|| default.map(str::to_owned));
        let Some(value) = value else {
            return Err((
                format!("the environment variable `{name}` is not set"),
                format!("set it, or give a default: `${{{name}:-default}}`"),
            ));
        };
        out.push_str(&value);
        rest = behind;
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::super::yaml::parse;
    use super::{replaced, substitute};

    #[test]
    fn what_a_variable_is_is_not_told() {
        let mut node = parse("token: ${TOKEN}").expect("YAML");
        let mut problems = Vec::new();
        let variable = |name: &str| (name == "TOKEN").then(|| "open sesame".to_owned());
        substitute(&mut node, &variable, &mut problems);
        let token = node.get("token").expect("a key");
        assert_eq!(token.text(), Some("open sesame"));
        assert_eq!(token.describe(), "`${TOKEN}`");
        assert!(problems.is_empty());
    }

    #[test]
    fn variables_defaults_and_escapes() {
        let variable = |name: &str| (name == "HOST").then(|| "db".to_owned());
        for (text, expected) in [
            ("plain $5", "plain $5"),
            ("${HOST}:80", "db:80"),
            ("${PORT:-80}", "80"),
            ("${HOST:-x}${NONE:-}", "db"),
            ("$${HOST}", "${HOST}"),
            ("a$${b}${HOST}", "a${b}db"),
        ] {
            assert_eq!(replaced(text, &variable).as_deref(), Ok(expected), "{text}");
        }
        for text in ["${NONE}", "${HOST", "${}"] {
            assert!(replaced(text, &variable).is_err(), "{text}");
        }
    }
}

//! Which fields each form has, as the API knows the fields of its bodies: one that is misspelt must not count as left out.
//!
//! In: a form as it was sent. Out: nothing, or what is wrong with its fields, before anything is done. What a field says is
//! read by who takes it; one that is empty is here all the same.

use super::actions::Action;
use super::changed::{SEEN, VERSION};
use super::{experiment_form, passkeys, users};
use crate::body::Query;
use crate::problem::Problem;

/// The fields of a form: those that are always sent, and those that may be left out.
type Fields = (&'static [&'static str], &'static [&'static str]);

/// The form of an experiment has fields by its type, too, which [`experiment_form`] knows.
const EXPERIMENT: &str = "/experiments/start";

/// The fields of the form that is sent to an address; what is not named here has none.
fn fields(path: &str) -> Fields {
    match path {
        // Either a token, or a name with what belongs to it.
        "/login" => (&[], &["token", "name", "password", "code", "next"]),
        passkeys::SIGN_IN => (&["answer"], &["next"]),
        // Keepers of passwords are told whose it is.
        "/account/password" => (&["present", "new", "again"], &["sessions", "username"]),
        "/account/totp" => (&["present"], &[]),
        "/account/totp/confirm" => (&["code"], &[]),
        "/account/passkeys" => (&["name", "present"], &[]),
        "/account/passkeys/register" => (&["name", "answer"], &[]),
        "/account/tokens" => (&["name"], &["role", "days", "scope"]),
        "/account/tokens/{id}/revoke" => (&[], &["back"]),
        "/users/create" => (&["name"], &["display_name", "password", users::ROLE]),
        // Boxes of which none is chosen are not sent.
        "/users/{name}/roles" => (&[], &[users::ROLE]),
        "/users/{name}/admission" => (&["admission"], &[]),
        "/users/{name}/password" => (&["new"], &["factors"]),
        "/users/{name}/passkeys/remove" => (&["id"], &[]),
        "/infrastructure/preview" | "/infrastructure/create" => (&["definition"], &[]),
        "/services/{name}/scale/preview" | "/services/{name}/scale" => (&["replicas"], &[]),
        "/services/{name}/pause" => (&["for"], &[]),
        "/automation" => (&["enabled"], &["back"]),
        "/remediations/{id}/approve" | "/remediations/{id}/reject" => (&[], &["reason", "back"]),
        // Empty, a figure is forgotten; left out, that is not asked for.
        "/statistics/baseline" => (&["mttr_minutes", "outage_cost_per_hour"], &[]),
        _ => (&[], &[]),
    }
}

/// Refuses a form with a field that it does not have, or without one that it has.
pub(super) fn check(action: &Action, form: &Query) -> Result<(), Problem> {
    let (required, optional) = fields(action.path);
    let from: &[&str] = if action.overwrites.is_some() { &[VERSION, SEEN] } else { &[] };
    let more = if action.path == EXPERIMENT { experiment_form::fields(form) } else { Vec::new() };
    let is_known = |name: &str| [required, optional, from, &more].iter().any(|some| some.contains(&name));
    if let Some((name, _)) = form.pairs().find(|(name, _)| !is_known(name)) {
        return Err(Problem::field(name, format!("`{name}` is not known here; leave it out")));
    }
    match required.iter().find(|name| form.given(name).next().is_none()) {
        Some(name) => Err(Problem::field(*name, format!("`{name}` is missing"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::actions::ACTIONS;
    use super::*;

    fn checked(action: &Action, names: &[&str]) -> Result<(), Option<String>> {
        let form = names.iter().map(|name| format!("{name}=")).collect::<Vec<_>>().join("&");
        check(action, &Query::parse(Some(&form)).unwrap()).map_err(|problem| problem.field)
    }

    #[test]
    fn every_form_takes_its_fields_none_but_them_and_not_without_what_it_needs() {
        for action in ACTIONS {
            let (required, optional) = fields(action.path);
            let all = [required, optional].concat();
            assert_eq!(checked(action, required), Ok(()), "{}", action.path);
            assert_eq!(checked(action, &all), Ok(()), "{}", action.path);
            let typo = [all.as_slice(), &["typo"]].concat();
            assert_eq!(checked(action, &typo), Err(Some("typo".to_owned())), "{}", action.path);
            let drawn = checked(action, &[required, &[VERSION, SEEN]].concat());
            assert_eq!(drawn.is_ok(), action.overwrites.is_some(), "{}", action.path);
            for left_out in required {
                let rest: Vec<&str> = all.iter().copied().filter(|name| name != left_out).collect();
                assert_eq!(checked(action, &rest), Err(Some((*left_out).to_owned())), "{}", action.path);
            }
        }
    }

    #[test]
    fn every_form_that_is_named_here_is_one() {
        let source = include_str!("fields.rs");
        let (_, table) = source.split_once("match path {").unwrap();
        let (table, _) = table.split_once("_ => ").unwrap();
        let paths = table.split('"').filter(|part| part.starts_with('/'));
        for path in paths.chain([EXPERIMENT]) {
            assert!(ACTIONS.iter().any(|action| action.path == path), "{path}");
        }
    }
}

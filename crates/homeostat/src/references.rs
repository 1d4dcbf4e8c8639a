//! What is asked for over the API refers to secrets as it can be followed by who starts it.
//!
//! In: a command and an environment, or an Infrastructure. Out: nothing, or the field whose reference could not be followed
//! from wherever it is read: a relative path is a question of where one stands, and the server does not know where its
//! client does. Nothing is followed here: whether it leads somewhere is asked of the keeper, which will follow it.

use std::collections::BTreeMap;

use domain::Infrastructure;
use gateway::ControlError;
use provider::secret;

/// Of a deployment.
pub(crate) fn of_release(
    command: Option<&[String]>,
    environment: &BTreeMap<String, String>,
) -> Result<(), ControlError> {
    if command.unwrap_or_default().iter().any(|word| secret::refers(word)) {
        let why =
            "`command` refers to a secret, which a list of processes would show; give it in `environment`";
        return Err(ControlError::Invalid { field: "command".to_owned(), why: why.to_owned() });
    }
    wrong(environment).map_or(Ok(()), |(name, why)| {
        let field = format!("environment.{name}");
        Err(ControlError::Invalid { why: format!("`{field}`: {why}"), field })
    })
}

/// Of a definition. That no command refers to a secret, its reader has seen to.
pub(crate) fn of_definition(it: &Infrastructure) -> Result<(), ControlError> {
    it.services.iter().try_for_each(|(service, spec)| match wrong(&spec.environment) {
        None => Ok(()),
        Some((name, why)) => Err(ControlError::Invalid {
            field: "definition".to_owned(),
            why: format!("services.{service}.environment.{name}: {why}"),
        }),
    })
}

/// The first variable with a reference that is not whole, and why.
fn wrong(environment: &BTreeMap<String, String>) -> Option<(&String, String)> {
    environment.iter().find_map(|(name, text)| Some((name, secret::check_form(text).err()?.said())))
}

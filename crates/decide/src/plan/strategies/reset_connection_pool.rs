//! reset_connection_pool: close every connection of a link; new ones are made as needed. For connections
//! that went bad while new ones are well.

use domain::Action;

use super::{Case, Draft, Unsuited};

pub(super) fn propose(case: &Case<'_>) -> Result<Draft, Unsuited> {
    let links = case.links()?;
    let names = links.iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>().join(", ");
    let summary = format!("close the connections of {names}, because of {}", case.why());
    let effect = "requests go over new connections; those in flight are tried again or fail".to_owned();
    let actions =
        links.into_iter().map(|(name, _)| Action::ResetConnections { link: name.clone() }).collect();
    Ok(case.draft(actions, summary, effect))
}

//! Each field of each root × each role, and the schema as it is documented.

use async_graphql::{Request, Response, Value};
use domain::{AnonymousReads, Identity, Permission, Proof, Role};
use futures_util::StreamExt;

use super::refusal::coded;
use super::schema::schema;

/// Every field of a root, with arguments that can be read, and what it needs.
const FIELDS: [(&str, &str, Permission); 28] = {
    use Permission as P;
    [
        ("query", "infrastructure(id: \"shop\") { id }", P::StateRead),
        ("query", "listInfrastructures { id }", P::StateRead),
        ("query", "computeResources { nodes { id } }", P::StateRead),
        ("query", "metrics(query: \"up\") { nodes { name } }", P::TelemetryRead),
        ("query", "automation { enabled }", P::StateRead),
        ("query", "deployments { nodes { id } }", P::StateRead),
        ("query", "changes(item: \"service/cart\") { nodes { version } }", P::StateRead),
        ("query", "issues { nodes { id } }", P::StateRead),
        ("query", "issue(id: \"0198a5c0-0000-7000-8000-000000000001\") { id }", P::StateRead),
        ("query", "remediations { nodes { id } }", P::StateRead),
        ("query", "remediation(id: \"0198a5c0-0000-7000-8000-000000000001\") { id }", P::StateRead),
        ("query", "experiments { nodes { id } }", P::StateRead),
        ("query", "experiment(id: \"0198a5c0-0000-7000-8000-000000000001\") { id }", P::StateRead),
        ("query", "healthScore { overall }", P::StateRead),
        ("query", "serviceHealth(service: \"cart\") { status }", P::StateRead),
        ("query", "slos { id }", P::StateRead),
        ("query", "slo(id: \"x\") { id }", P::StateRead),
        ("mutation", "createInfrastructure(definition: \"\") { id }", P::InfrastructureWrite),
        ("mutation", "deleteInfrastructure(id: \"shop\") { id }", P::InfrastructureWrite),
        ("mutation", "scaleDeployment(service: \"cart\", replicas: 2) { id }", P::InfrastructureWrite),
        (
            "mutation",
            "remediate(issueId: \"0198a5c0-0000-7000-8000-000000000001\") { id }",
            P::ServicesOperate,
        ),
        (
            "mutation",
            "approve(remediationId: \"0198a5c0-0000-7000-8000-000000000001\") { id }",
            P::PlansApprove,
        ),
        (
            "mutation",
            "reject(remediationId: \"0198a5c0-0000-7000-8000-000000000001\") { id }",
            P::PlansApprove,
        ),
        (
            "mutation",
            "rollBack(remediationId: \"0198a5c0-0000-7000-8000-000000000001\") { id }",
            P::PlansApprove,
        ),
        ("mutation", "setAutomation(enabled: true)", P::ServicesOperate),
        ("subscription", "infrastructureStatus(id: \"shop\") { state }", P::StateRead),
        ("subscription", "anomalyAlerts { id }", P::StateRead),
        ("subscription", "metricsStream(query: \"up\") { at }", P::TelemetryRead),
    ]
};

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// Asks without the server behind it: who is let through finds that it is not there.
fn ask(identity: Option<&Identity>, root: &str, field: &str) -> Response {
    let mut request = Request::new(format!("{root} {{ {field} }}"));
    if let Some(identity) = identity {
        request = request.data(identity.clone());
    }
    let first = schema().execute_stream(request).into_future();
    coded(wait(first).0.expect("there is an answer"))
}

fn code(response: &Response) -> Option<String> {
    let extensions = response.errors.first()?.extensions.as_ref()?;
    match extensions.get("code")? {
        Value::String(code) => Some(code.clone()),
        other => panic!("the code is {other}"),
    }
}

#[test]
fn each_role_is_let_through_to_what_it_may_and_to_nothing_else() {
    for role in Role::ALL {
        let identity = Identity::proven("ada", Proof::Token, vec![role], None);
        for (root, field, permission) in FIELDS {
            let expected = if role.permissions().allows(permission) { "internal" } else { "forbidden" };
            let answer = ask(Some(&identity), root, field);
            assert_eq!(code(&answer).as_deref(), Some(expected), "{role}: {field}: {answer:?}");
        }
    }
}

#[test]
fn a_scope_narrows_what_a_token_may_ask_for() {
    let scope = [Permission::StateRead].into_iter().collect();
    let identity = Identity::proven("token ci", Proof::Token, vec![Role::Admin], Some(scope));
    for (root, field, permission) in FIELDS {
        let expected = if permission == Permission::StateRead { "internal" } else { "forbidden" };
        assert_eq!(code(&ask(Some(&identity), root, field)).as_deref(), Some(expected), "{field}");
    }
}

#[test]
fn who_proves_nothing_reads_as_a_viewer_at_most_and_changes_nothing() {
    let reader = Identity::anonymous(AnonymousReads::Allowed);
    let nobody = Identity::anonymous(AnonymousReads::Refused);
    for (root, field, _) in FIELDS {
        let expected = if root == "mutation" { "token_missing" } else { "internal" };
        assert_eq!(code(&ask(Some(&reader), root, field)).as_deref(), Some(expected), "{field}");
        for none in [Some(&nobody), None] {
            assert_eq!(code(&ask(none, root, field)).as_deref(), Some("token_missing"), "{field}");
        }
    }
}

#[test]
fn every_field_of_a_root_is_in_the_table_above() {
    let admin = Identity::proven("ada", Proof::Token, vec![Role::Admin], None);
    for (root, name) in [("query", "Query"), ("mutation", "Mutation"), ("subscription", "Subscription")] {
        let asked = format!("__type(name: \"{name}\") {{ fields {{ name }} }}");
        let answer = ask(Some(&admin), "query", &asked).data.into_json().unwrap();
        let fields = answer["__type"]["fields"].as_array().unwrap();
        for field in fields.iter().map(|field| field["name"].as_str().unwrap()) {
            let is_it = |asked: &str| asked.split(['(', ' ']).next() == Some(field);
            assert!(
                FIELDS.into_iter().any(|(of, asked, _)| of == root && is_it(asked)),
                "{root}.{field} is not in the table of permissions of this test"
            );
        }
    }
}

//! Who may do what with whose identity.

/// A role on a service account, as IAM knows it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Role {
    /// `roles/iam.serviceAccountOpenIdTokenCreator`: ID tokens, and nothing else.
    OpenIdTokenCreator,
    /// `roles/iam.serviceAccountTokenCreator`: ID tokens, access tokens, signatures, and being a
    /// link in a chain of delegates.
    TokenCreator,
    /// `roles/iam.workloadIdentityUser`: ID tokens and access tokens, for a workload elsewhere.
    WorkloadIdentityUser,
}

impl Role {
    fn gives(self, permission: Permission) -> bool {
        match self {
            Self::OpenIdTokenCreator => permission == Permission::GetOpenIdToken,
            Self::TokenCreator => true,
            Self::WorkloadIdentityUser => {
                matches!(
                    permission,
                    Permission::GetAccessToken | Permission::GetOpenIdToken
                )
            }
        }
    }
}

/// What IAM asks for before it does something.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Permission {
    GetAccessToken,
    GetOpenIdToken,
    ImplicitDelegation,
    SignBlob,
    SignJwt,
}

impl Permission {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::GetAccessToken => "iam.serviceAccounts.getAccessToken",
            Self::GetOpenIdToken => "iam.serviceAccounts.getOpenIdToken",
            Self::ImplicitDelegation => "iam.serviceAccounts.implicitDelegation",
            Self::SignBlob => "iam.serviceAccounts.signBlob",
            Self::SignJwt => "iam.serviceAccounts.signJwt",
        }
    }
}

/// The grants that were made.
#[derive(Debug, Default)]
pub(crate) struct Policy {
    grants: Vec<Grant>,
}

#[derive(Debug, Eq, PartialEq)]
struct Grant {
    member: String,
    role: Role,
    on: String,
}

impl Policy {
    pub(crate) fn grant(&mut self, member: &str, role: Role, on: &str) {
        let grant = Grant {
            member: member.to_owned(),
            role,
            on: on.to_owned(),
        };
        if !self.grants.contains(&grant) {
            self.grants.push(grant);
        }
    }

    pub(crate) fn revoke(&mut self, member: &str, role: Role, on: &str) {
        self.grants
            .retain(|grant| !(grant.member == member && grant.role == role && grant.on == on));
    }

    /// Whether `caller` may do this with the last of `chain`, through all those before it.
    ///
    /// Every link is a permission of its own: each must let the one before it act in its name, and
    /// the last must allow what is asked.
    pub(crate) fn check(
        &self,
        caller: &str,
        chain: &[String],
        asked: Permission,
    ) -> Result<(), Permission> {
        let members = std::iter::once(caller).chain(chain.iter().map(String::as_str));
        for (place, (member, on)) in members.zip(chain).enumerate() {
            let last = place + 1 == chain.len();
            let permission = if last {
                asked
            } else {
                Permission::ImplicitDelegation
            };
            if !self.allows(member, permission, on) {
                return Err(permission);
            }
        }
        Ok(())
    }

    fn allows(&self, member: &str, permission: Permission, on: &str) -> bool {
        self.grants
            .iter()
            .any(|grant| grant.member == member && grant.on == on && grant.role.gives(permission))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_link_of_a_chain_needs_its_own_grant() {
        let mut policy = Policy::default();
        let chain = ["b".to_owned(), "c".to_owned(), "d".to_owned()];
        let check = |policy: &Policy| policy.check("a", &chain, Permission::GetOpenIdToken);
        assert_eq!(check(&policy), Err(Permission::ImplicitDelegation));
        policy.grant("a", Role::TokenCreator, "b");
        policy.grant("b", Role::TokenCreator, "c");
        assert_eq!(check(&policy), Err(Permission::GetOpenIdToken));
        policy.grant("c", Role::OpenIdTokenCreator, "d");
        assert_eq!(check(&policy), Ok(()));
        policy.revoke("b", Role::TokenCreator, "c");
        assert_eq!(check(&policy), Err(Permission::ImplicitDelegation));
    }

    #[test]
    fn a_role_gives_no_more_than_its_permissions() {
        let mut policy = Policy::default();
        policy.grant("a", Role::OpenIdTokenCreator, "b");
        let chain = ["b".to_owned()];
        assert_eq!(
            policy.check("a", &chain, Permission::GetOpenIdToken),
            Ok(())
        );
        for permission in [
            Permission::GetAccessToken,
            Permission::SignBlob,
            Permission::SignJwt,
        ] {
            assert_eq!(policy.check("a", &chain, permission), Err(permission));
        }
    }
}

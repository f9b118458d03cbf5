//! The calls that the sandbox answers, and what the reference fixes for each.

/// A call of the REST API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `POST /token`
    Token,
    /// `POST /messages/users`
    SendToUsers,
    /// `POST /messages/chatgroups`
    SendToGroups,
    /// `POST /messages/chatrooms`
    SendToChatrooms,
    /// `POST /messages/chatgroups/users`
    SendToGroupMembers,
    /// `POST /messages/chatrooms/users`
    SendToChatroomMembers,
    /// `POST /chatfiles`
    Upload,
    /// `GET /chatfiles/{uuid}`
    Download,
}

impl Endpoint {
    /// Every endpoint, in the order of its discriminant.
    pub const ALL: [Self; 8] = [
        Self::Token,
        Self::SendToUsers,
        Self::SendToGroups,
        Self::SendToChatrooms,
        Self::SendToGroupMembers,
        Self::SendToChatroomMembers,
        Self::Upload,
        Self::Download,
    ];

    /// Those that send a message.
    pub const SENDS: [Self; 5] = [
        Self::SendToUsers,
        Self::SendToGroups,
        Self::SendToChatrooms,
        Self::SendToGroupMembers,
        Self::SendToChatroomMembers,
    ];

    /// The path after `/{org}/{app}` or `/app-id/{app_id}`; in braces what differs from call to call.
    pub fn path(self) -> &'static str {
        match self {
            Self::Token => "/token",
            Self::SendToUsers => "/messages/users",
            Self::SendToGroups => "/messages/chatgroups",
            Self::SendToChatrooms => "/messages/chatrooms",
            Self::SendToGroupMembers => "/messages/chatgroups/users",
            Self::SendToChatroomMembers => "/messages/chatrooms/users",
            Self::Upload => "/chatfiles",
            Self::Download => "/chatfiles/{uuid}",
        }
    }

    pub(super) fn index(self) -> usize {
        self as usize
    }
}

/// One value for each endpoint.
pub(super) struct PerEndpoint<T>([T; Endpoint::ALL.len()]);

impl<T> PerEndpoint<T> {
    pub(super) fn new(mut value: impl FnMut(Endpoint) -> T) -> Self {
        Self(Endpoint::ALL.map(&mut value))
    }

    pub(super) fn get(&self, endpoint: Endpoint) -> &T {
        &self.0[endpoint.index()]
    }

    pub(super) fn get_mut(&mut self, endpoint: Endpoint) -> &mut T {
        &mut self.0[endpoint.index()]
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.0.iter_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_endpoint_stands_at_its_own_index() {
        for (index, endpoint) in Endpoint::ALL.into_iter().enumerate() {
            assert_eq!(endpoint.index(), index);
        }
    }
}

//! The one rule of every test with a scripted Easemob: what callers were told of a recipient agrees with what
//! Easemob has. OK: exactly once. NOT_SENT: not at all. MAYBE_SENT, or no word of the gateway: at most once.
//!
//! Nobody has to ask for it. [`Client`] writes down what it asks for and what it is told, and the rule
//! is checked when Easemob goes. Messages are told from each other by their texts, and requests with the same
//! ID are one.

use std::{
    collections::HashMap,
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, Weak},
};

use easemob_gateway::proto::{
    SendMessageRequest, SendMessageResponse, SendState,
    message::{Content, Target},
    messaging_service_client::MessagingServiceClient,
};
use tonic::{
    IntoRequest, Request, Response, Status, codec::CompressionEncoding, transport::Channel,
};

use super::{easemob::Seen, request::verdict};

/// Easemobs that are there, by URL.
static BOOKS: Mutex<Vec<(String, Weak<Book>)>> = Mutex::new(Vec::new());

/// What callers of one Easemob asked for.
#[derive(Debug, Default)]
pub struct Book(Mutex<Vec<Call>>);

#[derive(Debug)]
struct Call {
    /// Where its ID is known: the gateway, or the Redis of several.
    memory: Arc<str>,
    request: SendMessageRequest,
    /// None where the caller has left.
    told: Option<Result<SendMessageResponse, Status>>,
}

/// How often a recipient may have a message.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    least: usize,
    most: usize,
}

const ACCEPTED: Bounds = Bounds { least: 1, most: 1 };
const MAYBE: Bounds = Bounds { least: 0, most: 1 };
const NEVER: Bounds = Bounds { least: 0, most: 0 };

impl Book {
    /// A new one for the Easemob at this URL.
    pub fn open(url: &str) -> Arc<Self> {
        let book = Arc::new(Self::default());
        Self::list(url, &book);
        book
    }

    /// Has it found at this URL.
    pub fn list(url: &str, book: &Arc<Self>) {
        let mut books = BOOKS.lock().unwrap();
        books.retain(|(_, book)| book.strong_count() > 0);
        books.push((url.to_owned(), Arc::downgrade(book)));
    }

    fn at(url: &str) -> Option<Arc<Self>> {
        let books = BOOKS.lock().unwrap();
        let mut found = books.iter().rev().filter(|(known, _)| known == url);
        found.next()?.1.upgrade()
    }

    fn ask(&self, memory: &Arc<str>, request: &SendMessageRequest) -> usize {
        let mut calls = self.0.lock().unwrap();
        calls.push(Call {
            memory: Arc::clone(memory),
            request: request.clone(),
            told: None,
        });
        calls.len() - 1
    }

    fn tell(&self, call: usize, told: Result<SendMessageResponse, Status>) {
        self.0.lock().unwrap()[call].told = Some(told);
    }

    /// Checks the rule.
    pub fn check(&self, seen: &Seen) {
        let mut has: HashMap<(&str, String), usize> = HashMap::new();
        for send in seen.sends.iter().filter(|send| !send.refused) {
            for to in send.body["to"].as_array().into_iter().flatten() {
                let to = to.as_str().unwrap_or_default().to_lowercase();
                *has.entry((send.text(), to)).or_default() += 1;
            }
        }
        let calls = self.0.lock().unwrap();
        let mut may_have: HashMap<(&str, String), Bounds> = HashMap::new();
        for ((text, recipient, _), bounds) in requests(&calls) {
            let all = may_have.entry((text, recipient)).or_insert(NEVER);
            all.least += bounds.least;
            all.most = all.most.saturating_add(bounds.most);
        }
        for (message, Bounds { least, most }) in may_have {
            let has = has.get(&message).copied().unwrap_or_default();
            assert!(
                (least..=most).contains(&has),
                "{message:?} arrived {has} times, and callers were told {least} to {most}: {:#?}",
                calls
                    .iter()
                    .filter(|call| text_of(&call.request) == message.0)
                    .collect::<Vec<_>>()
            );
        }
    }
}

/// What each request may have done for each of its recipients: by text, recipient, and what tells requests apart.
fn requests(calls: &[Call]) -> HashMap<(&str, String, String), Bounds> {
    let mut all = HashMap::new();
    for (number, call) in calls.iter().enumerate() {
        let text = text_of(&call.request);
        if text.is_empty() {
            continue;
        }
        let name = match &*call.request.request_id {
            "" => number.to_string(),
            id => format!("{} {} {id}", call.memory, call.request.app),
        };
        for (recipient, mut told) in told(call) {
            if call.request.resend_maybe_sent {
                told.most = usize::MAX;
            }
            let before = all.entry((text, recipient.to_lowercase(), name.clone()));
            let before = before.or_insert(NEVER);
            before.least = before.least.max(told.least);
            before.most = before.most.max(told.most);
        }
    }
    all
}

fn text_of(request: &SendMessageRequest) -> &str {
    let message = request.message.as_ref();
    match message.and_then(|message| message.content.as_ref()) {
        Some(Content::Text(text)) => &text.text,
        _ => "",
    }
}

/// What was told of each recipient: of each once.
fn told(call: &Call) -> Vec<(String, Bounds)> {
    let message = call.request.message.as_ref();
    let recipients = match message.and_then(|message| message.target.clone()) {
        Some(Target::Users(users)) => users.user_ids,
        Some(Target::Groups(groups)) => groups.group_ids,
        Some(Target::Chatrooms(rooms)) => rooms.chatroom_ids,
        None => Vec::new(),
    };
    let response = match &call.told {
        Some(Ok(response)) => response,
        Some(Err(status)) if !status.details().is_empty() => {
            let is_maybe = verdict(status).1 == "MAYBE_SENT";
            let bounds = if is_maybe { MAYBE } else { NEVER };
            return recipients.into_iter().map(|one| (one, bounds)).collect();
        }
        // No word of the gateway.
        Some(Err(_)) | None => return recipients.into_iter().map(|one| (one, MAYBE)).collect(),
    };
    let accepted = response.accepted.iter();
    let mut told: Vec<_> = accepted
        .map(|one| (one.recipient.clone(), ACCEPTED))
        .collect();
    for failure in &response.failures {
        let is_maybe = failure.state() == SendState::MaybeSent;
        let bounds = if is_maybe { MAYBE } else { NEVER };
        told.extend(failure.recipients.iter().map(|one| (one.clone(), bounds)));
    }
    let mut names: Vec<_> = told.iter().map(|(one, _)| one).collect();
    let mut all: Vec<_> = recipients.iter().collect();
    names.sort();
    all.sort();
    assert_eq!(names, all, "each recipient is told of once");
    told
}

/// The generated client, which notes what `SendMessage` tells.
#[derive(Debug, Clone)]
pub struct Client {
    inner: MessagingServiceClient<Channel>,
    memory: Arc<str>,
    /// Of each app whose Easemob is a scripted one; the first is the default. No name: of every app.
    books: Vec<(String, Arc<Book>)>,
}

impl Client {
    /// A client of a gateway with these apps, by name (none: every app) and base URL. `memory`: where it knows request IDs.
    pub fn new<'a>(
        channel: Channel,
        apps: impl IntoIterator<Item = (&'a str, &'a str)>,
        memory: impl Into<Arc<str>>,
    ) -> Self {
        let apps = apps.into_iter();
        let books = apps.filter_map(|(name, url)| Some((name.to_owned(), Book::at(url)?)));
        Self {
            inner: MessagingServiceClient::new(channel),
            memory: memory.into(),
            books: books.collect(),
        }
    }

    /// The same, sending compressed.
    pub fn send_compressed(self, encoding: CompressionEncoding) -> Self {
        Self {
            inner: self.inner.send_compressed(encoding),
            ..self
        }
    }

    pub async fn send_message(
        &mut self,
        request: impl IntoRequest<SendMessageRequest>,
    ) -> Result<Response<SendMessageResponse>, Status> {
        let request: Request<SendMessageRequest> = request.into_request();
        let app = &request.get_ref().app;
        let is = |name: &str| app.is_empty() || name.is_empty() || name == app;
        let mut of_app = self.books.iter().filter(|(name, _)| is(name));
        let Some((_, book)) = of_app.next() else {
            return self.inner.send_message(request).await;
        };
        let (book, memory) = (Arc::clone(book), Arc::clone(&self.memory));
        let call = book.ask(&memory, request.get_ref());
        let result = self.inner.send_message(request).await;
        let told = result.as_ref().map(|response| response.get_ref().clone());
        book.tell(call, told.map_err(Clone::clone));
        result
    }
}

impl Deref for Client {
    type Target = MessagingServiceClient<Channel>;

    fn deref(&self) -> &Self::Target {
        &self.inner
    }
}

impl DerefMut for Client {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.inner
    }
}

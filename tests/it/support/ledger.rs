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
    SendFailure, SendMessageRequest, SendMessageResponse, SendMessagesRequest,
    SendMessagesResponse, SendState,
    message::{Content, Target},
    messaging_service_client::MessagingServiceClient,
    send_messages_response::Result as Answer,
};
use tokio_stream::{Stream, StreamExt};
use tonic::{
    IntoRequest, Request, Response, Status, Streaming, codec::CompressionEncoding,
    transport::Channel,
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

    /// Checks the rule. An error says how it is broken.
    pub fn check(&self, seen: &Seen) -> Result<(), String> {
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
            if !(least..=most).contains(&has) {
                let about = calls
                    .iter()
                    .filter(|call| text_of(&call.request) == message.0);
                return Err(format!(
                    "{message:?} arrived {has} times, and callers were told {least} to {most}: {:#?}",
                    about.collect::<Vec<_>>()
                ));
            }
        }
        Ok(())
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

fn recipients(request: &SendMessageRequest) -> Vec<String> {
    let message = request.message.as_ref();
    match message.and_then(|message| message.target.clone()) {
        Some(Target::Users(users)) => users.user_ids,
        Some(Target::Groups(groups)) => groups.group_ids,
        Some(Target::Chatrooms(rooms)) => rooms.chatroom_ids,
        None => Vec::new(),
    }
}

/// What was told of each recipient: of each once.
fn told(call: &Call) -> Vec<(String, Bounds)> {
    let recipients = recipients(&call.request);
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

/// The generated client, which notes what `SendMessage` and `SendMessages` tell.
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
        let asked = Asked::note(&self.books, &self.memory, request.get_ref());
        let result = self.inner.send_message(request).await;
        if let Some(asked) = asked {
            let told = result.as_ref().map(|response| response.get_ref().clone());
            asked.tell(told.map_err(Clone::clone));
        }
        result
    }

    /// Requests are told apart by their correlation IDs: of two that are under way with the same one, nothing is known.
    pub async fn send_messages<S>(&mut self, requests: S) -> Result<Response<Answers>, Status>
    where
        S: Stream<Item = SendMessagesRequest> + Send + 'static,
    {
        let asked = Arc::new(Mutex::new(HashMap::new()));
        let (books, memory, notes) = (
            self.books.clone(),
            Arc::clone(&self.memory),
            Arc::clone(&asked),
        );
        let requests = requests.map(move |one| {
            if let Some(request) = &one.request {
                let asked = Asked::note(&books, &memory, request);
                let mut notes = notes.lock().unwrap();
                let of_id: &mut Vec<_> = notes.entry(one.correlation_id.clone()).or_default();
                of_id.extend(asked);
            }
            one
        });
        let answers = self.inner.send_messages(requests).await?;
        Ok(answers.map(|answers| Answers { answers, asked }))
    }
}

/// A call that is written down, and not told yet.
#[derive(Debug)]
struct Asked {
    book: Arc<Book>,
    call: usize,
    recipients: Vec<String>,
}

impl Asked {
    /// None where no scripted Easemob is behind the app.
    fn note(
        books: &[(String, Arc<Book>)],
        memory: &Arc<str>,
        request: &SendMessageRequest,
    ) -> Option<Self> {
        let app = &request.app;
        let is = |name: &str| app.is_empty() || name.is_empty() || name == app;
        let (_, book) = books.iter().find(|(name, _)| is(name))?;
        Some(Self {
            book: Arc::clone(book),
            call: book.ask(memory, request),
            recipients: recipients(request),
        })
    }

    fn tell(self, told: Result<SendMessageResponse, Status>) {
        self.book.tell(self.call, told);
    }
}

/// The answers on a stream, written down as they are read.
#[derive(Debug)]
pub struct Answers {
    answers: Streaming<SendMessagesResponse>,
    asked: Arc<Mutex<HashMap<String, Vec<Asked>>>>,
}

impl Answers {
    pub async fn message(&mut self) -> Result<Option<SendMessagesResponse>, Status> {
        let next = self.answers.message().await?;
        if let Some(answer) = &next {
            let mut asked = self.asked.lock().unwrap();
            let of_id = asked.remove(&answer.correlation_id).unwrap_or_default();
            if let Ok([asked]) = <[Asked; 1]>::try_from(of_id) {
                let told = match answer.result.clone().expect("a result") {
                    Answer::Response(response) => response,
                    // It lists nobody, and means all.
                    Answer::Failure(failure) => SendMessageResponse {
                        failures: vec![SendFailure {
                            recipients: asked.recipients.clone(),
                            ..failure
                        }],
                        ..Default::default()
                    },
                };
                asked.tell(Ok(told));
            }
        }
        Ok(next)
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

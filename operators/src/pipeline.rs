//! The builder: one method per operator.

use std::borrow::Borrow;
use std::hash::Hash;
use std::marker::PhantomData;

use crate::batch::{Batch, BatchOptions};
use crate::chain::{Chain, Compiled};
use crate::context::Context;
use crate::filter::Filter;
use crate::inspect::Inspect;
use crate::lookup::{Lookup, Table};
use crate::make_reply::{MakeReply, MakeReplyWith, SerializeRow};
use crate::map::Map;
use crate::map_async::{MAX_IN_FLIGHT, MapAsync};
use crate::mode::{HasMode, Mode};
use crate::operator::{Operator, Start, Then};
use crate::parse_request::{ParseRequest, ParseRow};
use crate::process::Process;
use crate::refusal::IntoRefusal;
use crate::reply::Reply;
use crate::request::Request;
use crate::row::{Finished, Owned, Replied, Requests, Row, Unparsed};
use crate::row_fn::{Plain, RowFn, WithRequest};
use crate::send_reply::{IntoReply, SendReply};
use crate::test::TestService;
use crate::try_map::TryMap;
use crate::update::Update;

/// A pipeline under construction: where its requests come from (`S`), the family of rows that
/// leaves it so far (`R`), and its operators (`O`).
///
/// Closures are cloned for each partition, so what they capture must be `Clone + Send`; a panic
/// throws their captured state away. What is worth keeping belongs into a [`Table`].
///
/// Most methods have a twin `…_with` whose closure also gets the [`Request`].
#[derive(Clone, Debug)]
#[must_use = "a pipeline does nothing until its stream is started"]
pub struct Pipeline<S, R, O> {
    origin: S,
    operators: O,
    row: PhantomData<fn() -> R>,
}

/// Where the requests of a pipeline come from, and what writes its replies.
pub trait Origin {
    /// What configures and starts the query.
    type Writer;

    /// Binds the finished chain to its origin.
    fn write_stream(self, chain: Box<dyn Chain>) -> Self::Writer;
}

/// The origin of a pipeline that only a test drives.
#[derive(Clone, Copy, Debug)]
pub struct Detached;

impl HasMode for Detached {
    fn mode(&self) -> Mode {
        Mode::Continuous
    }

    fn partitions(&self) -> usize {
        1
    }
}

impl Pipeline<Detached, Requests, Start> {
    /// A pipeline without a server, for tests and benches.
    pub fn detached() -> Self {
        Pipeline::from_origin(Detached)
    }
}

impl<S> Pipeline<S, Requests, Start> {
    /// The empty pipeline over the requests of `origin`.
    pub fn from_origin(origin: S) -> Self {
        Pipeline {
            origin,
            operators: Start,
            row: PhantomData,
        }
    }
}

impl<S, R, O> Pipeline<S, R, O> {
    /// Where its requests come from.
    pub fn origin(&self) -> &S {
        &self.origin
    }
}

// No method but the last asks whether `O` is an operator: what is wrong with one step would be told
// once more, at length, at each step behind it.
//
// The types say which operators were fused, in order; an alias would only hide that.
#[expect(clippy::type_complexity)]
impl<S, R: Row, O> Pipeline<S, R, O> {
    /// Parses the JSON body into a row, which may borrow from it; refuses what does not fit with
    /// 400 and a document that names the field. See [`ParseRequest`].
    pub fn parse_request<T: ParseRow>(self) -> Pipeline<S, T, Then<O, ParseRequest<T>>>
    where
        R: Unparsed,
    {
        self.then(ParseRequest::new())
    }

    /// Turns each row into another that owns what it holds. Where rustc says "lifetime may not live
    /// long enough", the closure gives a row that borrows: that is [`map_row`](Self::map_row).
    pub fn map<T, F>(self, f: F) -> Pipeline<S, Owned<T>, Then<O, Map<Plain<F>, Owned<T>>>>
    where
        T: 'static,
        F: for<'r> FnMut(R::At<'r>) -> T + Clone + Send + 'static,
    {
        self.then(Map::new(Plain(f)))
    }

    /// [`map`](Self::map), with the request in hand.
    ///
    /// ```
    /// # use snapback_operators::Pipeline;
    /// let mut service = Pipeline::detached()
    ///     .map_with(|_, request| request.query("name").unwrap_or("nobody".into()).into_owned())
    ///     .map(|name| format!("hello, {name}"))
    ///     .make_reply()
    ///     .test();
    /// service.get("/?name=Ada").expect(200, "hello, Ada");
    /// ```
    pub fn map_with<T, F>(
        self,
        f: F,
    ) -> Pipeline<S, Owned<T>, Then<O, Map<WithRequest<F>, Owned<T>>>>
    where
        T: 'static,
        F: for<'r> FnMut(R::At<'r>, &'r Request<'r>) -> T + Clone + Send + 'static,
    {
        self.then(Map::new(WithRequest(f)))
    }

    /// Turns each row into one that borrows, of the family `T`.
    ///
    /// ```
    /// # extern crate snapback_operators as snapback;
    /// # use snapback_operators::{Pipeline, Row};
    /// #[derive(Row)]
    /// struct Trimmed<'a> { text: &'a [u8] }
    ///
    /// let mut service = Pipeline::detached()
    ///     .map_row::<Trimmed, _>(|request| Trimmed { text: request.body().trim_ascii() })
    ///     .map(|row| row.text.len())
    ///     .make_reply()
    ///     .test();
    /// service.post("  four  ").expect(200, "4");
    /// ```
    pub fn map_row<T, F>(self, f: F) -> Pipeline<S, T, Then<O, Map<Plain<F>, T>>>
    where
        T: Row,
        F: for<'r> BorrowingFn<R::At<'r>, T::At<'r>>,
        Plain<F>: for<'r> RowFn<'r, R::At<'r>, T::At<'r>>,
    {
        self.then(Map::new(Plain(f)))
    }

    /// Turns each row into another, or refuses its request: the error becomes the reply.
    ///
    /// ```
    /// # use snapback_operators::Pipeline;
    /// let mut service = Pipeline::detached()
    ///     .try_map(|request| match request.body() {
    ///         b"" => Err((422, "say something")),
    ///         body => Ok(body.len()),
    ///     })
    ///     .make_reply()
    ///     .test();
    /// service.post("word").expect(200, "4");
    /// assert_eq!(service.post("").status, 422);
    /// ```
    pub fn try_map<T, E, F>(self, f: F) -> Pipeline<S, Owned<T>, Then<O, TryMap<Plain<F>, T, E>>>
    where
        T: 'static,
        E: IntoRefusal + 'static,
        F: for<'r> FnMut(R::At<'r>) -> Result<T, E> + Clone + Send + 'static,
    {
        self.then(TryMap::new(Plain(f)))
    }

    /// [`try_map`](Self::try_map), with the request in hand.
    pub fn try_map_with<T, E, F>(
        self,
        f: F,
    ) -> Pipeline<S, Owned<T>, Then<O, TryMap<WithRequest<F>, T, E>>>
    where
        T: 'static,
        E: IntoRefusal + 'static,
        F: for<'r> FnMut(R::At<'r>, &'r Request<'r>) -> Result<T, E> + Clone + Send + 'static,
    {
        self.then(TryMap::new(WithRequest(f)))
    }

    /// Lets the rows pass for which `predicate` holds; the requests of the others are answered
    /// `unansweredReply` (204).
    pub fn filter<F>(self, predicate: F) -> Pipeline<S, R, Then<O, Filter<Plain<F>>>>
    where
        F: for<'x, 'r> FnMut(&'x R::At<'r>) -> bool + Clone + Send + 'static,
    {
        self.then(Filter {
            predicate: Plain(predicate),
        })
    }

    /// [`filter`](Self::filter), with the request in hand.
    pub fn filter_with<F>(self, predicate: F) -> Pipeline<S, R, Then<O, Filter<WithRequest<F>>>>
    where
        F: for<'x, 'r> FnMut(&'x R::At<'r>, &'r Request<'r>) -> bool + Clone + Send + 'static,
    {
        self.then(Filter {
            predicate: WithRequest(predicate),
        })
    }

    /// Changes each row in place.
    pub fn update<F>(self, f: F) -> Pipeline<S, R, Then<O, Update<Plain<F>>>>
    where
        F: for<'x, 'r> FnMut(&'x mut R::At<'r>) + Clone + Send + 'static,
    {
        self.then(Update { f: Plain(f) })
    }

    /// [`update`](Self::update), with the request in hand.
    pub fn update_with<F>(self, f: F) -> Pipeline<S, R, Then<O, Update<WithRequest<F>>>>
    where
        F: for<'x, 'r> FnMut(&'x mut R::At<'r>, &'r Request<'r>) + Clone + Send + 'static,
    {
        self.then(Update { f: WithRequest(f) })
    }

    /// Shows each row to `f` and lets it pass.
    pub fn inspect<F>(self, f: F) -> Pipeline<S, R, Then<O, Inspect<Plain<F>>>>
    where
        F: for<'x, 'r> FnMut(&'x R::At<'r>) + Clone + Send + 'static,
    {
        self.then(Inspect { f: Plain(f) })
    }

    /// [`inspect`](Self::inspect), with the request in hand.
    pub fn inspect_with<F>(self, f: F) -> Pipeline<S, R, Then<O, Inspect<WithRequest<F>>>>
    where
        F: for<'x, 'r> FnMut(&'x R::At<'r>, &'r Request<'r>) + Clone + Send + 'static,
    {
        self.then(Inspect { f: WithRequest(f) })
    }

    /// Joins each row with the value that `table` has for its key, or with none (a left join).
    ///
    /// ```
    /// # extern crate snapback_operators as snapback;
    /// # use snapback_operators::{Pipeline, Row, Table};
    /// # use serde::Deserialize;
    /// #[derive(Deserialize, Row)]
    /// struct Address { zip: String }
    ///
    /// let cities = Table::from_iter([("98052".to_owned(), "Redmond")]);
    /// let mut service = Pipeline::detached()
    ///     .parse_request::<Address>()
    ///     .lookup(&cities, |row| row.zip.as_str(), |_row, city| city.copied())
    ///     .try_map(|city| city.ok_or((404, "no such zip code")))
    ///     .make_reply()
    ///     .test();
    /// service.post(r#"{"zip":"98052"}"#).expect(200, "Redmond");
    /// assert_eq!(service.post(r#"{"zip":"0"}"#).status, 404);
    /// ```
    pub fn lookup<K, V, Q, T, KeyFn, JoinFn>(
        self,
        table: &Table<K, V>,
        key: KeyFn,
        join: JoinFn,
    ) -> Pipeline<S, Owned<T>, Then<O, Lookup<K, V, KeyFn, JoinFn, Q, T>>>
    where
        K: Borrow<Q> + Eq + Hash + Send + Sync + 'static,
        V: Send + Sync + 'static,
        Q: Eq + Hash + ?Sized + 'static,
        T: 'static,
        KeyFn: for<'x, 'r> FnMut(&'x R::At<'r>) -> &'x Q + Clone + Send + 'static,
        JoinFn: for<'x, 'r> FnMut(R::At<'r>, Option<&'x V>) -> T + Clone + Send + 'static,
    {
        self.then(Lookup::new(table, key, join))
    }

    /// Answers from the middle of the pipeline where `f` gives a reply. The row goes on; since the
    /// first reply wins, a later one is not sent.
    pub fn send_reply<T, F>(self, f: F) -> Pipeline<S, R, Then<O, SendReply<Plain<F>, T>>>
    where
        T: IntoReply + 'static,
        F: for<'x, 'r> FnMut(&'x R::At<'r>) -> Option<T> + Clone + Send + 'static,
    {
        self.then(SendReply::new(Plain(f)))
    }

    /// [`send_reply`](Self::send_reply), with the request in hand.
    pub fn send_reply_with<T, F>(
        self,
        f: F,
    ) -> Pipeline<S, R, Then<O, SendReply<WithRequest<F>, T>>>
    where
        T: IntoReply + 'static,
        F: for<'x, 'r> FnMut(&'x R::At<'r>, &'r Request<'r>) -> Option<T> + Clone + Send + 'static,
    {
        self.then(SendReply::new(WithRequest(f)))
    }

    /// The escape hatch: the row with the whole request and reply in hand. `None` stops the row.
    ///
    /// ```
    /// # use snapback_operators::Pipeline;
    /// let mut service = Pipeline::detached()
    ///     .process(|request, cx| {
    ///         if request.method() != "POST" {
    ///             cx.reply().status(405).header("allow", "POST").empty();
    ///             return None;
    ///         }
    ///         Some(request.body().len())
    ///     })
    ///     .make_reply()
    ///     .test();
    /// service.post("four").expect(200, "4");
    /// service.get("/").expect(405, "");
    /// ```
    pub fn process<T, F>(self, f: F) -> Pipeline<S, Owned<T>, Then<O, Process<F, T>>>
    where
        T: 'static,
        F: for<'x, 'c, 'r> FnMut(R::At<'r>, &'x mut Context<'c, 'r>) -> Option<T>
            + Clone
            + Send
            + 'static,
    {
        self.then(Process::new(f))
    }

    /// Turns each row into a future on the session's tokio runtime, and goes on with its output.
    ///
    /// At most [`MAX_IN_FLIGHT`] futures run for a partition; see
    /// [`map_async_bounded`](Self::map_async_bounded). A future that panics is its request's 500;
    /// one whose client is gone, or whose deadline is over, is dropped. Behind this operator the
    /// request's body is no longer there, its head is.
    ///
    /// ```
    /// # use snapback_operators::Pipeline;
    /// async fn score(text: String) -> usize { text.len() }
    ///
    /// let mut service = Pipeline::detached()
    ///     .map(|request| String::from_utf8_lossy(request.body()).into_owned())
    ///     .map_async(score)
    ///     .make_reply()
    ///     .test();
    /// service.post("four").expect(200, "4");
    /// ```
    pub fn map_async<Fut, F>(
        self,
        f: F,
    ) -> Pipeline<S, Owned<Fut::Output>, Then<O, MapAsync<F, Fut>>>
    where
        Fut: Future<Output: Send> + Send + 'static,
        F: for<'r> FnMut(R::At<'r>) -> Fut + Clone + Send + 'static,
    {
        self.map_async_bounded(MAX_IN_FLIGHT, f)
    }

    /// [`map_async`](Self::map_async) with at most `max_in_flight` futures for each partition;
    /// requests beyond are answered 503.
    pub fn map_async_bounded<Fut, F>(
        self,
        max_in_flight: usize,
        f: F,
    ) -> Pipeline<S, Owned<Fut::Output>, Then<O, MapAsync<F, Fut>>>
    where
        Fut: Future<Output: Send> + Send + 'static,
        F: for<'r> FnMut(R::At<'r>) -> Fut + Clone + Send + 'static,
    {
        self.then(MapAsync::new(f, max_in_flight))
    }

    /// Hands the rows of a turn to `f` together, which pushes one result for each, in their order.
    ///
    /// Rows must own what they hold. When `f` panics, or gives another number of results, the rows
    /// are run one by one, and those that fail again are answered 500. Behind this operator the
    /// request's body is no longer there, its head is.
    ///
    /// ```
    /// # use snapback_operators::{BatchOptions, Pipeline};
    /// let mut service = Pipeline::detached()
    ///     .map(|request| request.body().len())
    ///     .batch(BatchOptions::default(), |lengths, doubled| {
    ///         doubled.extend(lengths.iter().map(|length| 2 * length));
    ///     })
    ///     .make_reply()
    ///     .test();
    /// service.post("four").expect(200, "8");
    /// ```
    pub fn batch<In, T, F>(
        self,
        options: BatchOptions,
        f: F,
    ) -> Pipeline<S, Owned<T>, Then<O, Batch<F, In, T>>>
    where
        R: for<'r> Row<At<'r> = In>,
        In: Send + 'static,
        T: Send + 'static,
        F: FnMut(&[In], &mut Vec<T>) + Clone + Send + 'static,
    {
        self.then(Batch::new(f, options))
    }

    /// Answers with the row: text, bytes, or JSON. See [`MakeReply`].
    pub fn make_reply(self) -> Pipeline<S, Replied, Then<O, MakeReply>>
    where
        R: SerializeRow,
    {
        self.then(MakeReply)
    }

    /// Answers as `f` writes it: status, headers, content type and body are in its hand.
    ///
    /// ```
    /// # use snapback_operators::Pipeline;
    /// let mut service = Pipeline::detached()
    ///     .map(|request| request.body().len())
    ///     .make_reply_with(|bytes, reply| {
    ///         reply.status(201).header("x-bytes", "4").content_type("text/csv");
    ///         reply.text(&format!("{bytes},"));
    ///     })
    ///     .test();
    /// service.post("four").expect(201, "4,");
    /// ```
    pub fn make_reply_with<F>(self, f: F) -> Pipeline<S, Replied, Then<O, MakeReplyWith<F>>>
    where
        F: for<'x, 'c, 'r> FnMut(R::At<'r>, &'x mut Reply<'c>) + Clone + Send + 'static,
    {
        self.then(MakeReplyWith { f })
    }

    /// Adds an operator: one of yours, or of another crate.
    pub fn then<Next: Operator<R>>(self, second: Next) -> Pipeline<S, Next::Out, Then<O, Next>> {
        let operators = Then {
            first: self.operators,
            second,
        };
        Pipeline {
            origin: self.origin,
            operators,
            row: PhantomData,
        }
    }
}

impl<S, R: Row, O> Pipeline<S, R, O> {
    /// Drives the pipeline without a socket.
    pub fn test(self) -> TestService
    where
        R: Finished,
        O: Operator<Requests, Out = R>,
    {
        TestService::new(self.into_chain())
    }

    /// The finished chain, for whoever drives it by hand.
    pub fn into_chain(self) -> Box<dyn Chain>
    where
        R: Finished,
        O: Operator<Requests, Out = R>,
    {
        Box::new(Compiled::new(self.operators))
    }

    /// Goes on to the sink: name, checkpoint, trigger, start.
    pub fn write_stream(self) -> S::Writer
    where
        S: Origin,
        R: Finished,
        O: Operator<Requests, Out = R>,
    {
        self.origin
            .write_stream(Box::new(Compiled::new(self.operators)))
    }
}

/// Closures whose result may borrow from their argument.
///
/// As a supertrait the closure bound gives rustc the closure's signature; with `In` and `Out` as
/// parameters it accepts a result that borrows (the direct bound is E0582).
pub trait BorrowingFn<In, Out>: FnMut(In) -> Out + Clone + Send + 'static {}

impl<In, Out, F: FnMut(In) -> Out + Clone + Send + 'static> BorrowingFn<In, Out> for F {}

//! What the tests over sockets share: services on ports that the system picks, and a blocking
//! client.

// Each test binary compiles this file and uses a part of it.
#![allow(dead_code)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use snapback::{
    Mode, Pipeline, Requests, Server, ServerReader, Session, StreamWriter, StreamingQuery,
};
use snapback_operators::Start;
use snapback_sql::datafusion::arrow::array::{AsArray, Int64Array};
use snapback_sql::datafusion::arrow::datatypes::{DataType, Int64Type};
use snapback_sql::datafusion::error::{DataFusionError, Result as PlanResult};
use snapback_sql::datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility};
use snapback_sql::prelude::create_udf;

/// How long a test waits for something that must come, before it fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// A service that listens at a port of the system's choice, with one partition that is not pinned.
pub(crate) fn reader_in(session: &Session, path: &str) -> ServerReader {
    reader_of(Mode::Continuous, session, path)
}

/// The same in any mode.
pub(crate) fn reader_of(mode: Mode, session: &Session, path: &str) -> ServerReader {
    let reader = session.read_stream();
    let reader = match mode {
        Mode::Continuous => reader.continuous_server(),
        Mode::Distributed => reader.distributed_server(),
        Mode::Server => reader.server(),
    };
    reader
        .option("adminAddress", "none")
        .address("127.0.0.1", 0, path)
        .option("numPartitions", 1)
        .option("pinning", "off")
        .option("shutdownTimeout", "100ms")
}

pub(crate) fn requests(path: &str) -> Pipeline<Server, Requests, Start> {
    reader_in(&Session::new(), path)
        .load()
        .expect("the options are good")
}

pub(crate) fn serve(writer: StreamWriter) -> Service {
    Service {
        query: writer.start().expect("the service starts"),
    }
}

/// A running service, which stops when it is dropped.
pub(crate) struct Service {
    pub(crate) query: StreamingQuery,
}

impl Service {
    pub(crate) fn port(&self) -> u16 {
        self.query.service_info()[0].port.expect("a TCP port")
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(("127.0.0.1", self.port()))
    }
}

impl Deref for Service {
    type Target = StreamingQuery;

    fn deref(&self) -> &StreamingQuery {
        &self.query
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.query.stop();
    }
}

/// A POST request with this body.
pub(crate) fn post(target: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let head = format!(
        "POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// One connection.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

/// One reply.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: Option<String>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("UTF-8")
    }
}

impl Client {
    pub(crate) fn connect(address: (&str, u16)) -> Client {
        let stream = TcpStream::connect(address).expect("a listener");
        stream.set_nodelay(true).expect("a TCP socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time");
        stream.set_write_timeout(Some(PATIENCE)).expect("a time");
        Client {
            stream: BufReader::new(stream),
        }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let mut stream = self.stream.get_ref();
        stream.write_all(bytes.as_ref()).expect("the server reads");
    }

    pub(crate) fn post(&mut self, target: &str, body: impl AsRef<[u8]>) -> Answer {
        self.send(post(target, body));
        self.answer()
    }

    /// Reads one reply, whose length its head says.
    pub(crate) fn answer(&mut self) -> Answer {
        let status = self.line();
        let status = status.split(' ').nth(1).and_then(|code| code.parse().ok());
        let (mut length, mut content_type) = (0, None);
        loop {
            let line = self.line().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-type:") {
                content_type = Some(value.trim().to_owned());
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).expect("a whole body");
        Answer {
            status: status.expect("a status line"),
            content_type,
            body,
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        let bytes = self.stream.read_line(&mut line).expect("a reply");
        assert!(bytes > 0, "the server closed the connection");
        line.trim_end().to_owned()
    }
}

/// Gives a number back; an error for multiples of 10, a panic for what follows them.
pub(crate) fn moody() -> ScalarUDF {
    let moody = |arguments: &[ColumnarValue]| -> PlanResult<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(arguments)?;
        let numbers = arrays[0].as_primitive::<Int64Type>().iter();
        let numbers = numbers.map(|number| match number {
            Some(number) if number % 10 == 0 => {
                Err(DataFusionError::Execution("not today".to_owned()))
            }
            Some(number) if number % 10 == 1 => panic!("not at all"),
            number => Ok(number),
        });
        let numbers: Int64Array = numbers.collect::<PlanResult<_>>()?;
        Ok(ColumnarValue::Array(Arc::new(numbers)))
    };
    create_udf(
        "moody",
        vec![DataType::Int64],
        DataType::Int64,
        Volatility::Volatile,
        Arc::new(moody),
    )
}

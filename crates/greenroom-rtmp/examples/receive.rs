//! Accepts one connection of an encoder, lets it publish, and prints its events. With a file, writes the bytes that the encoder sends
//! to it, to be replayed in tests.
//!   cargo run -p greenroom-rtmp --example receive -- 127.0.0.1:1935 [FILE]

use greenroom_rtmp::{Event, Limits, ServerConnection};
use std::error::Error;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:1935".to_owned());
    let mut capture = arguments.next().map(File::create).transpose()?;
    let listener = TcpListener::bind(&address)?;
    println!("listening on rtmp://{}/app/", listener.local_addr()?);
    let (mut socket, peer) = listener.accept()?;
    println!("connection from {peer}");
    serve(&mut socket, capture.as_mut())
}

fn serve(socket: &mut TcpStream, mut capture: Option<&mut File>) -> Result<(), Box<dyn Error>> {
    let mut connection = ServerConnection::new(Limits::default(), [7; 32]);
    let mut buffer = vec![0; 64 * 1024];
    // An encoder that has stopped closes the connection itself.
    loop {
        let length = socket.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..length).filter(|bytes| !bytes.is_empty()) else {
            println!("closed by the encoder in phase {:?}", connection.phase());
            return Ok(());
        };
        if let Some(file) = &mut capture {
            file.write_all(bytes)?;
        }
        let received = connection.receive(bytes);
        let handled = received.and_then(|()| handle_events(&mut connection));
        while let Some(bytes) = connection.poll_transmit() {
            socket.write_all(&bytes)?;
        }
        handled?;
    }
}

fn handle_events(connection: &mut ServerConnection) -> Result<(), greenroom_rtmp::ProtocolError> {
    while let Some(event) = connection.poll_event() {
        match event {
            Event::PublishRequested(request) => {
                println!("publish {request:?}, tc_url {}", request.tc_url);
                connection.accept()?;
            }
            Event::Audio { timestamp, body } => println!("audio {timestamp} {} {:02x?}", body.len(), start(&body)),
            Event::Video { timestamp, body } => println!("video {timestamp} {} {:02x?}", body.len(), start(&body)),
            event => println!("{event:?}"),
        }
    }
    Ok(())
}

fn start(body: &[u8]) -> &[u8] {
    body.get(..8).unwrap_or(body)
}

//! The SPU: records.

use super::state::{Partition, ProduceFault, State};
use super::wire::{Connection, request, versions};
use bytes::{Buf, BufMut, Bytes};
use fluvio_protocol::api::RequestHeader;
use fluvio_protocol::link::ErrorCode;
use fluvio_protocol::link::versions::ApiVersionsRequest;
use fluvio_protocol::record::ReplicaKey;
use fluvio_protocol::{Decoder, Encoder, Version};
use fluvio_spu_schema::fetch::FetchablePartitionResponse;
use fluvio_spu_schema::produce::{
    DefaultProduceRequest, PartitionProduceResponse, ProduceResponse, TopicProduceResponse,
};
use fluvio_spu_schema::server::SpuServerApiKey;
use fluvio_spu_schema::server::fetch_offset::{
    FetchOffsetPartitionResponse, FetchOffsetTopicResponse, FetchOffsetsRequest, FetchOffsetsResponse,
};
use fluvio_spu_schema::server::stream_fetch::{DefaultStreamFetchRequest, StreamFetchResponse};
use fluvio_spu_schema::server::update_offset::{OffsetUpdateStatus, UpdateOffsetsRequest, UpdateOffsetsResponse};
use std::io::{self, Cursor};

/// Records as they are on the wire, cut or not.
#[derive(Debug, Default)]
struct Slice(Bytes);

impl Encoder for Slice {
    fn write_size(&self, _: Version) -> usize {
        4 + self.0.len()
    }

    fn encode<T: BufMut>(&self, out: &mut T, version: Version) -> io::Result<()> {
        i32::try_from(self.0.len()).map_err(|_| io::ErrorKind::FileTooLarge)?.encode(out, version)?;
        out.put_slice(&self.0);
        Ok(())
    }
}

impl Decoder for Slice {
    fn decode<T: Buf>(&mut self, _: &mut T, _: Version) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Answers a client of the SPU.
pub(super) fn answer(connection: &Connection, header: RequestHeader, frame: &mut Cursor<Bytes>) -> io::Result<()> {
    use SpuServerApiKey as Key;
    const KEYS: [Key; 5] = [Key::ApiVersion, Key::Produce, Key::FetchOffsets, Key::StreamFetch, Key::UpdateOffsets];
    match KEYS.into_iter().find(|&key| key as u16 == header.api_key()) {
        Some(Key::ApiVersion) => {
            let request = request::<ApiVersionsRequest>(header, frame)?;
            connection.answers.send(&request.header, &versions(&KEYS.map(|key| key as u16))?)
        }
        Some(Key::Produce) => {
            let request = request::<DefaultProduceRequest>(header, frame)?;
            produce(connection, &request.header, request.request)
        }
        Some(Key::FetchOffsets) => {
            let request = request::<FetchOffsetsRequest>(header, frame)?;
            offsets(connection, &request.header, &request.request)
        }
        Some(Key::StreamFetch) => {
            let request = request::<DefaultStreamFetchRequest>(header, frame)?;
            let stream = connection.shared.change(|state| {
                state.streams += 1;
                state.streams
            });
            let (connection, stream) = (connection.clone(), u32::try_from(stream).map_err(io::Error::other)?);
            std::thread::spawn(move || send_stream(&connection, &request.header, &request.request, stream));
            Ok(())
        }
        Some(Key::UpdateOffsets) => {
            let request = request::<UpdateOffsetsRequest>(header, frame)?;
            let mut response = UpdateOffsetsResponse::default();
            connection.shared.change(|state| {
                for update in &request.request.offsets {
                    state.acknowledged.insert(update.session_id, update.offset);
                    let status = OffsetUpdateStatus { session_id: update.session_id, error: ErrorCode::None };
                    response.status.push(status);
                }
            });
            connection.answers.send(&request.header, &response)
        }
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

fn partition<'s>(state: &'s State, topic: &str, partition: u32) -> Option<&'s Partition> {
    state.topics.get(topic)?.get(partition as usize)
}

fn offsets(connection: &Connection, header: &RequestHeader, request: &FetchOffsetsRequest) -> io::Result<()> {
    let state = connection.shared.state();
    let of_topic = |topic: &fluvio_spu_schema::server::fetch_offset::FetchOffsetTopic| {
        let of_partition = |index: u32| match partition(&state, &topic.name, index) {
            Some(found) => FetchOffsetPartitionResponse {
                error_code: ErrorCode::None,
                partition_index: index,
                start_offset: found.start,
                last_stable_offset: found.end,
            },
            None => FetchOffsetPartitionResponse {
                error_code: ErrorCode::PartitionNotLeader,
                partition_index: index,
                start_offset: -1,
                last_stable_offset: -1,
            },
        };
        let partitions = topic.partitions.iter().map(|asked| of_partition(asked.partition_index)).collect();
        FetchOffsetTopicResponse { name: topic.name.clone(), partitions }
    };
    let response = FetchOffsetsResponse { topics: request.topics.iter().map(of_topic).collect() };
    drop(state);
    connection.answers.send(header, &response)
}

/// Appends batches, or does what it is told instead.
fn produce(connection: &Connection, header: &RequestHeader, request: DefaultProduceRequest) -> io::Result<()> {
    let fault = connection.shared.change(|state| state.produce_faults.pop_front());
    if fault == Some(ProduceFault::Dropped) {
        return hang_up(connection);
    }
    let mut response = ProduceResponse::default();
    for topic in request.topics {
        let mut answer = TopicProduceResponse { name: topic.name.clone(), ..Default::default() };
        for asked in topic.partitions {
            let mut of_partition =
                PartitionProduceResponse { partition_index: asked.partition_index, ..Default::default() };
            if fault == Some(ProduceFault::Refused) {
                let replica_key = ReplicaKey::new(topic.name.clone(), asked.partition_index);
                of_partition.error_code = ErrorCode::PartitionFull { replica_key };
                answer.partitions.push(of_partition);
                continue;
            }
            let base = connection.shared.change(|state| {
                let found = state.topics.get_mut(&topic.name)?.get_mut(asked.partition_index as usize)?;
                let bases: Vec<i64> = asked.records.batches.into_iter().map(|batch| found.append(batch)).collect();
                bases.first().copied()
            });
            match base {
                Some(base) => of_partition.base_offset = base,
                None => of_partition.error_code = ErrorCode::PartitionNotLeader,
            }
            answer.partitions.push(of_partition);
        }
        response.responses.push(answer);
    }
    match fault {
        Some(ProduceFault::AppendedUnanswered) => hang_up(connection),
        _ => connection.answers.send(header, &response),
    }
}

/// Ends all connections, this one among them.
fn hang_up(connection: &Connection) -> io::Result<()> {
    for ended in connection.shared.change(|state| std::mem::take(&mut state.connections)) {
        // It may have ended by itself.
        let _ = ended.shutdown(std::net::Shutdown::Both);
    }
    Err(io::ErrorKind::ConnectionAborted.into())
}

/// Sends a slice, and the next whenever the client says how far it is.
fn send_stream(
    connection: &Connection,
    header: &RequestHeader,
    request: &DefaultStreamFetchRequest,
    stream: u32,
) -> io::Result<()> {
    let bytes_max = usize::try_from(request.max_bytes).map_err(io::Error::other)?;
    let mut offset = request.fetch_offset;
    loop {
        let is_ready = |state: &State| {
            let found = partition(state, &request.topic, request.partition);
            !state.held && found.is_none_or(|found| found.end != offset || found.start > offset)
        };
        let state = connection.shared.wait(|state| connection.is_over(state) || is_ready(state));
        if connection.is_over(&state) {
            return Ok(());
        }
        let mut answer = FetchablePartitionResponse { partition_index: request.partition, ..Default::default() };
        match partition(&state, &request.topic, request.partition) {
            None => answer.error_code = ErrorCode::PartitionNotLeader,
            Some(found) if found.start > offset => {
                answer.error_code = ErrorCode::OffsetEvicted { offset, next_available: found.start };
            }
            Some(found) if found.end < offset => answer.error_code = ErrorCode::OffsetOutOfRange,
            Some(found) => {
                (answer.high_watermark, answer.log_start_offset) = (found.end, found.start);
                answer.records = Slice(found.slice(offset, bytes_max));
            }
        }
        drop(state);
        let (sent, failed) = (answer.records.0.len() as u64, answer.error_code != ErrorCode::None);
        let response = StreamFetchResponse { topic: request.topic.clone(), stream_id: stream, partition: answer };
        connection.answers.send(header, &response)?;
        connection.shared.change(|state| state.sent_bytes += sent);
        if failed {
            return Ok(());
        }
        let is_told = |state: &State| state.acknowledged.get(&stream).is_some_and(|&told| told != offset);
        let state = connection.shared.wait(|state| connection.is_over(state) || is_told(state));
        offset = state.acknowledged.get(&stream).copied().unwrap_or(offset);
    }
}

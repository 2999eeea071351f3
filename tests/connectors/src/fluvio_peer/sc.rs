//! The SC: what there is.

use super::SPU;
use super::state::State;
use super::wire::{Connection, request, versions};
use bytes::Bytes;
use fluvio_protocol::api::RequestHeader;
use fluvio_protocol::{Decoder, Encoder};
use fluvio_sc_schema::core::Spec;
use fluvio_sc_schema::objects::{
    CreateRequest, ListRequest, ListResponse, Metadata, MetadataUpdate, ObjectApiCreateRequest, ObjectApiListRequest,
    ObjectApiListResponse, ObjectApiWatchRequest, ObjectApiWatchResponse, WatchRequest, WatchResponse,
};
use fluvio_sc_schema::partition::{PartitionResolution, PartitionSpec, PartitionStatus};
use fluvio_sc_schema::spu::SpuSpec;
use fluvio_sc_schema::topic::{TopicResolution, TopicSpec, TopicStatus};
use fluvio_sc_schema::versions::ApiVersionsRequest;
use fluvio_sc_schema::{AdminPublicApiKey, AdminSpec, Status, TryEncodableFrom};
use std::fmt::Debug;
use std::io::{self, Cursor};

/// An object that the SC knows.
trait Known: AdminSpec<Status: Encoder + Decoder + Clone + Debug + Send> + Clone + Send + 'static {
    fn all(state: &State) -> Vec<Metadata<Self>>;
}

impl Known for TopicSpec {
    fn all(state: &State) -> Vec<Metadata<Self>> {
        let topic = |(name, partitions): (&String, &Vec<_>)| Metadata {
            name: name.clone(),
            spec: TopicSpec::new_computed(partitions.len() as u32, 1, None),
            status: TopicStatus { resolution: TopicResolution::Provisioned, ..TopicStatus::default() },
        };
        state.topics.iter().map(topic).collect()
    }
}

impl Known for PartitionSpec {
    fn all(state: &State) -> Vec<Metadata<Self>> {
        let partitions = state.topics.iter().flat_map(|(topic, partitions)| {
            (0..partitions.len()).map(move |number| Metadata {
                name: format!("{topic}-{number}"),
                spec: PartitionSpec::new(SPU, vec![SPU]),
                status: PartitionStatus { resolution: PartitionResolution::Online, ..PartitionStatus::default() },
            })
        });
        partitions.collect()
    }
}

impl Known for SpuSpec {
    fn all(state: &State) -> Vec<Metadata<Self>> {
        let mut status = <SpuSpec as Spec>::Status::default();
        match state.spu_port {
            0 => status.set_offline(),
            _ => status.set_online(),
        }
        let spec = SpuSpec::new_public_addr(SPU, state.spu_port, "127.0.0.1".to_owned());
        // A cluster whose only SPU is away still knows it; one that never had any does not.
        (state.generation > 0)
            .then(|| Metadata { name: format!("custom-spu-{SPU}"), spec, status })
            .into_iter()
            .collect()
    }
}

/// Answers a client of the SC.
pub(super) fn answer(connection: &Connection, header: RequestHeader, frame: &mut Cursor<Bytes>) -> io::Result<()> {
    use AdminPublicApiKey as Key;
    const KEYS: [Key; 4] = [Key::ApiVersion, Key::Create, Key::List, Key::Watch];
    match KEYS.into_iter().find(|&key| key as u16 == header.api_key()) {
        Some(Key::ApiVersion) => {
            let request = request::<ApiVersionsRequest>(header, frame)?;
            connection.answers.send(&request.header, &versions(&KEYS.map(|key| key as u16))?)
        }
        Some(Key::Watch) => {
            let request = request::<ObjectApiWatchRequest>(header, frame)?;
            watch::<TopicSpec>(connection, &request.header, &request.request)?;
            watch::<PartitionSpec>(connection, &request.header, &request.request)?;
            watch::<SpuSpec>(connection, &request.header, &request.request)
        }
        Some(Key::List) => {
            let request = request::<ObjectApiListRequest>(header, frame)?;
            list::<TopicSpec>(connection, &request.header, &request.request)?;
            list::<PartitionSpec>(connection, &request.header, &request.request)?;
            list::<SpuSpec>(connection, &request.header, &request.request)
        }
        Some(Key::Create) => {
            let request = request::<ObjectApiCreateRequest>(header, frame)?;
            create(connection, &request.header, &request.request)
        }
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

fn encoded<T>(made: Result<T, impl ToString>) -> io::Result<T> {
    made.map_err(|error| io::Error::other(error.to_string()))
}

/// Says what there is, and again whenever it changes.
fn watch<S: Known>(connection: &Connection, header: &RequestHeader, request: &ObjectApiWatchRequest) -> io::Result<()> {
    let asked: Option<WatchRequest<S>> = encoded(request.downcast())?;
    if asked.is_none() {
        return Ok(());
    }
    let (connection, header) = (connection.clone(), header.clone());
    std::thread::spawn(move || -> io::Result<()> {
        let (mut version, mut said) = (None, None);
        loop {
            let state = connection.shared.wait(|state| connection.is_over(state) || version != Some(state.version));
            if connection.is_over(&state) {
                return Ok(());
            }
            version = Some(state.version);
            let all = S::all(&state);
            drop(state);
            // Most changes are of records.
            let shown = format!("{all:?}");
            if said.as_ref() == Some(&shown) {
                continue;
            }
            said = Some(shown);
            let update = WatchResponse::new(MetadataUpdate::with_all(1, all));
            let response = encoded(ObjectApiWatchResponse::try_encode_from(update, header.api_version()))?;
            connection.answers.send(&header, &response)?;
        }
    });
    Ok(())
}

fn list<S: Known>(connection: &Connection, header: &RequestHeader, request: &ObjectApiListRequest) -> io::Result<()> {
    let asked: Option<ListRequest<S>> = encoded(request.downcast())?;
    if asked.is_none() {
        return Ok(());
    }
    let all = ListResponse::new(S::all(&connection.shared.state()));
    let response = encoded(ObjectApiListResponse::try_encode_from(all, header.api_version()))?;
    connection.answers.send(header, &response)
}

fn create(connection: &Connection, header: &RequestHeader, request: &ObjectApiCreateRequest) -> io::Result<()> {
    let asked: Option<CreateRequest<TopicSpec>> = encoded(request.downcast())?;
    let (common, topic) = asked.ok_or(io::ErrorKind::Unsupported)?.parts();
    connection.shared.change(|state| {
        let partitions = (0..topic.partitions()).map(|_| super::Partition::default()).collect();
        state.topics.entry(common.name.clone()).or_insert(partitions);
    });
    connection.answers.send(header, &Status::new_ok(common.name))
}

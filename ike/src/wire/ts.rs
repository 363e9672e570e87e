//! The Traffic Selector payloads, TSi and TSr (RFC 7296 §3.13). Narrowing them is elsewhere.

use std::net::IpAddr;

use super::error::WireError;
use super::reader::{Reader, Substructure};
use super::writer::Writer;
use crate::limits;

/// Packets of an IP protocol between two ports and two addresses, all of them included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrafficSelector {
    /// The IP protocol; 0 is any.
    pub ip_protocol: u8,
    /// The first port; 0 where ports mean nothing. After `end_port` it is OPAQUE (RFC 7296 §3.13.1).
    pub start_port: u16,
    /// The last port; 65535 where ports mean nothing.
    pub end_port: u16,
    /// The first address.
    pub start: IpAddr,
    /// The last address, of the same family, not before the first.
    pub end: IpAddr,
}

const TS_IPV4_ADDR_RANGE: u8 = 7;
const TS_IPV6_ADDR_RANGE: u8 = 8;

pub(super) fn parse(body: &mut Reader<'_>) -> Result<Vec<TrafficSelector>, WireError> {
    let count = body.u8()?;
    body.array::<3>()?;
    match usize::from(count) {
        0 => return Err(WireError::NoTrafficSelector),
        count if count > limits::TRAFFIC_SELECTORS => return Err(WireError::TooMany),
        _ => {}
    }
    let selectors = (0..count)
        .filter_map(|_| selector(body).transpose())
        .collect::<Result<_, _>>();
    let selectors = selectors?;
    body.finish()?;
    Ok(selectors)
}

/// `None`: a type that we do not know, which never matches a packet of ours.
fn selector(reader: &mut Reader<'_>) -> Result<Option<TrafficSelector>, WireError> {
    let Substructure {
        first: kind,
        second: ip_protocol,
        mut body,
    } = reader.substructure()?;
    let selector = match kind {
        TS_IPV4_ADDR_RANGE => range::<4>(ip_protocol, &mut body)?,
        TS_IPV6_ADDR_RANGE => range::<16>(ip_protocol, &mut body)?,
        _ => return Ok(None),
    };
    body.finish()?;
    if selector.end < selector.start {
        return Err(WireError::TrafficSelectorRange);
    }
    Ok(Some(selector))
}

fn range<const OCTETS: usize>(
    ip_protocol: u8,
    body: &mut Reader<'_>,
) -> Result<TrafficSelector, WireError>
where
    IpAddr: From<[u8; OCTETS]>,
{
    Ok(TrafficSelector {
        ip_protocol,
        start_port: body.u16()?,
        end_port: body.u16()?,
        start: body.array::<OCTETS>()?.into(),
        end: body.array::<OCTETS>()?.into(),
    })
}

pub(super) fn write(selectors: &[TrafficSelector], writer: &mut Writer) {
    writer.count_u8(selectors.len());
    writer.reserved::<3>();
    for selector in selectors {
        let kind = match selector.start {
            IpAddr::V4(_) => TS_IPV4_ADDR_RANGE,
            IpAddr::V6(_) => TS_IPV6_ADDR_RANGE,
        };
        writer.substructure(kind, selector.ip_protocol, |writer| {
            writer.u16(selector.start_port);
            writer.u16(selector.end_port);
            for address in [selector.start, selector.end] {
                match address {
                    IpAddr::V4(address) => writer.octets(&address.octets()),
                    IpAddr::V6(address) => writer.octets(&address.octets()),
                }
            }
        });
    }
}

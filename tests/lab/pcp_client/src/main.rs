//! Maps a UDP port by PCP and prints what it got: pcp_client GATEWAY MINE PORT. The protocol is crab_nat's.
use std::net::{IpAddr, Ipv4Addr};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let words: Vec<String> = std::env::args().collect();
    let gateway: Ipv4Addr = words[1].parse().expect("an address");
    let mine: IpAddr = words[2].parse().expect("an address");
    let port = words[3].parse().expect("a port");
    let wish = crab_nat::pcp::BaseMapRequest::new(gateway.into(), mine, crab_nat::InternetProtocol::Udp, port);
    let mapped = crab_nat::pcp::port_mapping(wish, None, None, Default::default()).await.expect("no mapping");
    println!("{} {:?}", mapped.external_port(), mapped.mapping_type());
}

//! The address that the tungstenite engine connects from.
#![cfg(feature = "tungstenite")]

mod common;

use std::net::{IpAddr, Ipv6Addr};

use common::{echo, serve};
use everwire_engine::{ConnectRequest, Connection, Engine, EngineErrorKind, Stage, TungsteniteEngine};

/// Linux has all of 127.0.0.0/8 on the loopback interface; other systems have one address of it.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_connection_comes_from_the_address_it_is_bound_to() {
    let server = serve(echo).await;
    let ours: IpAddr = [127, 0, 0, 2].into();
    let engine = TungsteniteEngine::builder().bind_address(ours).build().unwrap();
    let request = ConnectRequest::new(&format!("ws://{server}/")).unwrap();
    let connection = engine.connect(request).await.unwrap();
    assert_eq!(connection.handshake().local_addr.unwrap().ip(), ours);
}

#[tokio::test]
async fn an_address_of_the_other_family_is_refused_in_words() {
    let server = serve(echo).await;
    let ours = IpAddr::from(Ipv6Addr::LOCALHOST);
    let engine = TungsteniteEngine::builder().bind_address(ours).build().unwrap();
    let request = ConnectRequest::new(&format!("ws://{server}/")).unwrap();
    let error = engine.connect(request).await.unwrap_err();
    assert_eq!(error.kind(), EngineErrorKind::Connect);
    assert!(error.to_string().contains("other family"), "{error}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_connection_takes_the_interface_it_is_bound_to() {
    let server = serve(echo).await;
    let engine = TungsteniteEngine::builder().bind_interface("lo").build().unwrap();
    let request = ConnectRequest::new(&format!("ws://{server}/")).unwrap();
    engine.connect(request.clone()).await.unwrap();
    let engine = TungsteniteEngine::builder().bind_interface("nosuch0").build().unwrap();
    let error = engine.connect(request).await.unwrap_err();
    assert_eq!((error.kind(), error.stage()), (EngineErrorKind::Connect, Stage::Connect));
    assert!(error.to_string().contains("\"nosuch0\""), "{error}");
    assert!(error.to_string().contains("is there such an interface"), "{error}");
}

#[test]
fn what_is_no_name_of_an_interface_is_refused_when_built() {
    for name in ["", "a/b", "two words", "sixteen-letters-", "nul\0"] {
        let error = TungsteniteEngine::builder().bind_interface(name).build().unwrap_err();
        assert_eq!(error.kind(), EngineErrorKind::InvalidConfiguration, "{name:?}");
    }
    assert_eq!(
        TungsteniteEngine::builder().bind_interface("wlan0").build().is_ok(),
        cfg!(target_os = "linux")
    );
}

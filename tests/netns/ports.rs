//! Ports of the server's namespace: dials with the client's address must not use them up.

use culvert::role::demo::app::{ECHO_PORT, HTTP_PORT, hold};
use culvert::sys::sysctl;

use crate::bed::{Family, PATIENCE, demo};
use crate::roads::{HBONE, takes};

/// A port that is picked at bind(2) is taken whatever the destination is; picked at connect(2) it is free again for
/// another destination (`IP_BIND_ADDRESS_NO_PORT`). So two apps of one pod have as many connections each as there are
/// ports, and not together.
#[test]
fn two_apps_have_as_many_connections_each_as_there_are_ports() {
    demo("ports", async |bed| {
        bed.start(&[]).await;
        sysctl::set(bed.netns("server"), "ipv4/ip_local_port_range", "40000 40199").unwrap();
        let client = bed.netns("client").clone();
        for family in [Family::V4, Family::V6] {
            // All from one client address: 150 to each app, 300 through 200 ports.
            let mut echo = hold(&client, bed.at("server", family, ECHO_PORT), 150, PATIENCE).await.unwrap();
            let report =
                culvert::role::demo::app::flood(&client, bed.at("server", family, HTTP_PORT), 150, 2, PATIENCE).await;
            assert_eq!((report.answered, report.refused.len()), (300, 0), "{family:?}: {report:?}");
            assert_eq!(echo.alive(PATIENCE).await, 150, "{family:?}");
        }
        takes(bed, &HBONE, Family::V4).await;
    });
}

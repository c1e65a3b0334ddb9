//! A delivery allocates nothing, from the relay that is told of it to the call that writes it to a socket.
//!
//! The groups, in another thread, do not know how many subscribers a worker has: what a change costs there is the same
//! for one as for many.

use allocation_counter::measure;
use realtime_delivery::Stage;

const ROUNDS: usize = 50;

/// The allocations of the worker in some rounds, after some in which its buffers grow to what is needed.
fn allocations(stage: &mut Stage, in_flight: usize) -> u64 {
    (0..5).for_each(|_| stage.round(in_flight));
    measure(|| (0..ROUNDS).for_each(|_| stage.round(in_flight))).count_total
}

#[test]
fn a_delivery_allocates_nothing_on_its_way_to_the_socket() {
    const FEW: usize = 4;
    const MANY: usize = 64;
    let (mut few, mut many) = (Stage::new(FEW), Stage::new(MANY));
    for in_flight in [1, 16] {
        let (few, many) = (allocations(&mut few, in_flight), allocations(&mut many, in_flight));
        // What a commit costs the worker is not a delivery's.
        let deliveries = (MANY - FEW) * ROUNDS * in_flight;
        assert!(many <= few + deliveries as u64 / 1_000, "{few} and {many} with {in_flight} in flight");
    }
}

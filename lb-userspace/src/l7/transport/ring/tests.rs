//! The ring's own book of places.

use super::driver::Driver;
use super::place::Place;
use socket2::{Domain, Socket, Type};
use std::io::{Read as _, Write as _};
use std::task::{Context, Waker};

fn pair() -> (Socket, Socket) {
    Socket::pair(Domain::UNIX, Type::STREAM, None).unwrap()
}

fn is_readable(driver: &Driver, place: usize) -> bool {
    let cx = Context::from_waker(Waker::noop());
    driver.at(place, |place| place.read.poll(&cx).is_ready()).unwrap()
}

#[test]
fn a_place_is_free_again_when_its_poll_has_ended_and_not_before() {
    let (driver, (near, _far)) = (Driver::new(8).unwrap(), pair());
    let place = driver.enter();
    driver.arm(place, &near).unwrap();
    driver.leave(place);
    assert_ne!(driver.enter(), place);
    driver.dispatch();
    assert_eq!(driver.enter(), place);
}

#[test]
fn what_there_is_no_room_for_is_told_later_and_then_watched_again() {
    let (driver, pairs) = (Driver::new(8).unwrap(), (0..50).map(|_| pair()).collect::<Vec<_>>());
    let places: Vec<_> = pairs.iter().map(|_| driver.enter()).collect();
    for round in 0..3 {
        for (&place, (near, far)) in places.iter().zip(&pairs) {
            assert!(!is_readable(&driver, place), "of round {round}");
            driver.arm(place, near).unwrap();
            (&*far).write_all(b"x").unwrap();
        }
        driver.dispatch();
        for (&place, (near, _)) in places.iter().zip(&pairs) {
            assert!(is_readable(&driver, place), "in round {round}");
            (&*near).read_exact(&mut [0]).unwrap();
            driver.at(place, |place| place.read.cool());
        }
    }
}

/// Linux handles the end of a segment before its data (`tcp_data_queue`), and two CPUs make two completions of that.
#[test]
fn an_end_that_is_told_before_the_data_that_came_with_it_is_not_forgotten() {
    let cx = Context::from_waker(Waker::noop());
    let mut place = Place::new();
    for events in [libc::POLLIN | libc::POLLRDHUP, libc::POLLIN] {
        place.note(events.into(), false);
    }
    place.read.drain();
    assert!(place.read.poll(&cx).is_ready());
}

//! `deliveries SUBSCRIBERS ROUNDS IN_FLIGHT`: so many rounds of so many commits for so many subscribers, for a program
//! that counts what this one's first thread does.

use realtime_delivery::Stage;

fn main() {
    let mut numbers = std::env::args().skip(1).map(|argument| argument.parse::<usize>());
    let (Some(Ok(subscribers)), Some(Ok(rounds)), Some(Ok(in_flight)), None) =
        (numbers.next(), numbers.next(), numbers.next(), numbers.next())
    else {
        eprintln!("three numbers: subscribers, rounds, and commits in flight");
        std::process::exit(2);
    };
    let mut stage = Stage::new(subscribers);
    for _ in 0..rounds {
        stage.round(in_flight);
    }
}

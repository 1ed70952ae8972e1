//! Prints the tables of both models; fails if a scene is broken or a hole is not found. `--scripts`: with the shortest way into each hole.

use std::process::ExitCode;
use std::time::Instant;

use chatlane_tests_model::append::{self, Append};
use chatlane_tests_model::hello::{self, Greeting};
use chatlane_tests_model::table::{Found, Held, find, hold};

fn main() -> ExitCode {
    let with_scripts = std::env::args().any(|word| word == "--scripts");
    let begun = Instant::now();
    let mut good = true;

    println!("{}", Held::HEADER);
    let mut told = |held: Held| {
        println!("{held}");
        good &= held.wrong.is_empty();
    };
    for scene in append::SCENES {
        told(hold(scene.name, Append::new(scene)));
    }
    for scene in hello::SCENES {
        told(hold(scene.name, Greeting::new(scene)));
    }

    println!("\n{}", Found::HEADER);
    let (mut found_holes, mut holes) = (0, 0);
    let mut told = |found: Found| {
        println!("{found}");
        if with_scripts {
            found.script.iter().flatten().for_each(|step| println!("    {step}"));
        }
        holes += 1;
        found_holes += u32::from(found.script.is_some());
    };
    for (hole, breaks, scene) in append::Hole::ALL {
        told(find(format!("append: {hole:?}"), Append::with(hole, breaks, scene)));
    }
    for (hole, breaks, scene) in hello::Hole::ALL {
        told(find(format!("hello: {hole:?}"), Greeting::with(hole, breaks, scene)));
    }

    println!("\nholes {found_holes}/{holes} found, {:.1}s in all", begun.elapsed().as_secs_f64());
    if good && found_holes == holes { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

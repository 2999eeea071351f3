//! `chalk`, as a binary of the tests' package: so that they can run its command line.

fn main() -> std::process::ExitCode {
    chalk_cli::main(std::env::args_os())
}

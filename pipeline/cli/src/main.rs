//! The `chalk` binary.

fn main() -> std::process::ExitCode {
    chalk_cli::main(std::env::args_os())
}

//! The Java client, by its own measuring tools. That for consuming subscribes as a group, and has `check.crcs` off
//! whatever it is told: it does a little less than the others.

use super::Tools;
use crate::job::{BUFFER_MEMORY, Job, LINGER_MS};

pub fn produce(job: &Job, tools: &Tools) -> Result<Vec<String>, String> {
    let options = [
        ("--payload-file", job.payloads.clone()),
        ("--throughput", "-1".to_owned()),
        ("--reporting-interval", "3600000".to_owned()),
    ];
    let mut command = command("ProducerPerformance", job, tools, options)?;
    let bytes = job.batch_size.unwrap_or(16_384);
    command.push("--command-property".to_owned());
    command.extend([
        format!("batch.size={bytes}"),
        format!("max.request.size={}", (bytes * 5).max(1 << 20)),
        format!("linger.ms={LINGER_MS}"),
        format!("buffer.memory={BUFFER_MEMORY}"),
        format!("compression.type={}", job.codec),
        "acks=all".to_owned(),
        "enable.idempotence=true".to_owned(),
    ]);
    Ok(command)
}

pub fn consume(job: &Job, tools: &Tools) -> Result<Vec<String>, String> {
    let mut command = command("ConsumerPerformance", job, tools, [("--timeout", "30000".to_owned())])?;
    command.push("--hide-header".to_owned());
    Ok(command)
}

fn command<const N: usize>(
    class: &str,
    job: &Job,
    tools: &Tools,
    options: [(&str, String); N],
) -> Result<Vec<String>, String> {
    let class_path = tools.java_class_path.as_ref().ok_or("no --java-class-path")?;
    let class = format!("org.apache.kafka.tools.{class}");
    let mut command: Vec<String> = ["java", "-Xmx512M", "-cp", class_path, &class].map(str::to_owned).to_vec();
    let all = [
        ("--bootstrap-server", job.bootstrap.clone()),
        ("--topic", job.topic.clone()),
        ("--num-records", job.records.to_string()),
    ];
    for (name, value) in all.into_iter().chain(options) {
        command.extend([name.to_owned(), value]);
    }
    Ok(command)
}

//! What the Nucleus answers about jobs.

use super::error::ApiFailure;
use super::job_types::{JobEndView, JobLimit, JobPause, JobRequest, JobTimes, JobView, JobWait};
use super::nucleus::{found, nucleus};
use super::records::Records;
use super::request::RequestKey;
use super::server::{Handled, caller};
use crate::daemon::Node;
use crate::nucleus::Nucleus;
use crate::nucleus::jobs;
use crate::nucleus::jobs::view::{job_view, job_views};
use crate::nucleus::views::Eyes;
use crate::standalone::state::now_ms;
use axum::extract::{Path, Query, State};
use axum::http::Extensions;
use axum::routing::{get, post};
use axum::{Json, Router};
use orbit_core::grid::Refusal;
use orbit_core::grid::job::{JobAct, JobEnd, JobWish};
use orbit_core::ids::JobId;
use orbit_mesh::key::random;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long an answer may wait for news: less than whoever asks waits for an answer.
const WAIT_MAX: Duration = Duration::from_secs(20);
/// How long a job may be paused, seconds: a year.
const PAUSE_S_MAX: u64 = 366 * 86_400;

type Shared = State<Arc<Node>>;

pub(super) fn router() -> Router<Arc<Node>> {
    Router::new()
        .route("/v1/jobs", get(list).post(submit))
        .route("/v1/jobs/{job}", get(show).delete(remove))
        .route("/v1/jobs/{job}/approve", post(approve))
        .route("/v1/jobs/{job}/pause", post(pause))
        .route("/v1/jobs/{job}/resume", post(resume))
        .route("/v1/jobs/{job}/cancel", post(cancel))
        .route("/v1/jobs/{job}/retry", post(retry))
        .route("/v1/jobs/{job}/limit", post(limit))
        .route("/v1/jobs/{job}/schedule", post(schedule))
}

async fn list(State(node): Shared, records: Records) -> Handled<Json<Vec<JobView>>> {
    Ok(Json(job_views(&records.eyes(&node))))
}

/// One job; with `after`, once it is another than it was.
async fn show(
    State(node): Shared,
    Path(written): Path<String>,
    Query(wait): Query<JobWait>,
    records: Records,
) -> Handled<Json<JobView>> {
    let deadline = Instant::now() + Duration::from_millis(wait.wait_ms).min(WAIT_MAX);
    let mut news = records.nucleus().map(|nucleus| nucleus.jobs.subscribe());
    loop {
        if let Some(news) = &mut news {
            news.borrow_and_update();
        }
        let eyes = records.eyes(&node);
        let view =
            eyes.with(|state| state.find_job(&written).map(|record| job_view(&eyes, state, record)))?;
        let is_known = wait.after.as_ref() == Some(&view.version);
        let (true, Some(news), Some(nucleus)) = (is_known, &mut news, records.nucleus()) else {
            return Ok(Json(view));
        };
        tokio::select! {
            _ = news.changed() => {}
            () = tokio::time::sleep_until(deadline) => return Ok(Json(view)),
            () = nucleus.ended.cancelled() => {
                return Err(Refusal::NotNucleus { node: node.standing().name }.into());
            }
        }
    }
}

async fn submit(
    State(node): Shared,
    request: RequestKey,
    extensions: Extensions,
    Json(wish): Json<JobRequest>,
) -> Handled<Json<JobView>> {
    let nucleus = nucleus(&node)?;
    let end = |end: JobEndView| {
        let record = found(&nucleus, &end.node)?;
        Ok::<_, ApiFailure>(JobEnd { node: record.id, name: record.name, path: end.path })
    };
    let job = JobWish {
        source: end(wish.source)?,
        destination: end(wish.destination)?,
        options: wish.options,
        created_on: caller(&extensions).unwrap_or(nucleus.own),
        mode: wish.mode,
    };
    // The same request again, at whichever Nucleus, is the same job.
    let id = request.0.map_or_else(random, |request| *request.as_bytes());
    act(&node, &nucleus, request, JobId::from_bytes(id), JobAct::Submit(Box::new(job))).await
}

/// Does something to a job, and shows it then.
async fn act(
    node: &Node,
    nucleus: &Arc<Nucleus>,
    request: RequestKey,
    job: JobId,
    act: JobAct,
) -> Handled<Json<JobView>> {
    nucleus.job(request.step(0), job, act).await?;
    let eyes = Eyes::of_nucleus(node, nucleus);
    let view = eyes.with(|state| state.job(job).map(|record| job_view(&eyes, state, record)));
    view.map(Json).ok_or_else(|| Refusal::UnknownJob { job: job.to_string() }.into())
}

/// Does something to a job that a person named.
async fn act_on(node: &Node, request: RequestKey, written: &str, deed: JobAct) -> Handled<Json<JobView>> {
    let nucleus = nucleus(node)?;
    let job = nucleus.with(|state| state.find_job(written).map(|record| record.id))?;
    act(node, &nucleus, request, job, deed).await
}

async fn approve(
    State(node): Shared,
    Path(job): Path<String>,
    request: RequestKey,
) -> Handled<Json<JobView>> {
    act_on(&node, request, &job, JobAct::Approve).await
}

async fn pause(
    State(node): Shared,
    Path(job): Path<String>,
    request: RequestKey,
    Json(wish): Json<JobPause>,
) -> Handled<Json<JobView>> {
    if wish.for_s.is_some_and(|seconds| !(1..=PAUSE_S_MAX).contains(&seconds)) {
        let refusal = Refusal::OutOfRange { what: "the pause".into(), allowed: "1 s to 366 d".into() };
        return Err(refusal.into());
    }
    let until_ms = wish.for_s.map(|seconds| now_ms() + seconds as i64 * 1000);
    act_on(&node, request, &job, JobAct::Pause { until_ms }).await
}

async fn resume(State(node): Shared, Path(job): Path<String>, request: RequestKey) -> Handled<Json<JobView>> {
    act_on(&node, request, &job, JobAct::Resume).await
}

async fn cancel(State(node): Shared, Path(job): Path<String>, request: RequestKey) -> Handled<Json<JobView>> {
    act_on(&node, request, &job, JobAct::Cancel).await
}

async fn retry(State(node): Shared, Path(job): Path<String>, request: RequestKey) -> Handled<Json<JobView>> {
    act_on(&node, request, &job, JobAct::Retry).await
}

async fn limit(
    State(node): Shared,
    Path(job): Path<String>,
    request: RequestKey,
    Json(wish): Json<JobLimit>,
) -> Handled<Json<JobView>> {
    act_on(&node, request, &job, JobAct::Limit(wish.bandwidth)).await
}

async fn schedule(
    State(node): Shared,
    Path(job): Path<String>,
    request: RequestKey,
    Json(wish): Json<JobTimes>,
) -> Handled<Json<JobView>> {
    let zone = wish.zone.unwrap_or_else(|| "UTC".to_owned());
    let schedule = wish.cron.map(|cron| jobs::schedule(cron, zone)).transpose()?;
    act_on(&node, request, &job, JobAct::Schedule(schedule)).await
}

async fn remove(State(node): Shared, Path(job): Path<String>, request: RequestKey) -> Handled<()> {
    let nucleus = nucleus(&node)?;
    let found = nucleus.with(|state| state.find_job(&job).map(|record| record.id));
    let id = match found {
        Ok(id) => id,
        // It may be this very request that removed it, whose answer was lost then.
        Err(unknown) => job.parse().map_err(|_| unknown)?,
    };
    nucleus.job(request.step(0), id, JobAct::Remove).await?;
    Ok(())
}

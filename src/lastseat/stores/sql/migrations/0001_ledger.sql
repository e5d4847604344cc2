-- Purpose: the tables of schema hubspot_sync (PRD names), the roles they are closed to, and the one rule of holds_seat.
-- Inputs: an empty database or a Supabase project, whose roles are used as they are.
-- Results: tables with row level security, nothing granted to anon or authenticated.
-- Invariant: seats_taken = rows that hold a seat + open claims, at every commit; only functions write here.

do $$
begin
    if not exists (select from pg_roles where rolname = 'anon') then
        create role anon nologin noinherit;
    end if;
    if not exists (select from pg_roles where rolname = 'authenticated') then
        create role authenticated nologin noinherit;
    end if;
    if not exists (select from pg_roles where rolname = 'service_role') then
        create role service_role nologin noinherit bypassrls;
    end if;
    if not exists (select from pg_roles where rolname = 'authenticator') then
        create role authenticator login noinherit;
        grant anon, authenticated, service_role to authenticator;
    end if;
end
$$;

create schema if not exists hubspot_sync;
create schema if not exists lastseat_api;
revoke all on schema hubspot_sync from public, anon, authenticated, service_role;
revoke all on schema lastseat_api from public, anon, authenticated;
grant usage on schema lastseat_api to service_role;
alter default privileges in schema hubspot_sync revoke all on tables from public, anon, authenticated, service_role;
alter default privileges in schema hubspot_sync revoke all on functions from public, anon, authenticated, service_role;
alter default privileges in schema lastseat_api revoke all on functions from public, anon, authenticated;
-- The built-in default grants EXECUTE to everybody; only a database-wide revoke takes it back.
alter default privileges revoke execute on functions from public;
revoke all on all tables in schema public from anon, authenticated;
revoke all on all sequences in schema public from anon, authenticated;
revoke all on all functions in schema public from anon, authenticated;
alter default privileges in schema public revoke all on tables from anon, authenticated;
alter default privileges in schema public revoke all on sequences from anon, authenticated;
alter default privileges in schema public revoke all on functions from anon, authenticated;

-- Whether a booking record holds a seat. is_active wins over the older booking_status, which may contradict it.
create function hubspot_sync.holds_seat(booking_status text, is_active text) returns boolean
    language sql immutable parallel safe as $$
    select case
        when lower(is_active) in ('active', 'completed', 'true', 'yes') then true
        when coalesce(is_active, '') <> '' then false
        else lower(coalesce(booking_status, '')) in ('confirmed', 'pending', 'completed')
    end
$$;

create table hubspot_sync.hubspot_mock_exams (
    id uuid primary key default gen_random_uuid(),
    hubspot_id text not null unique,
    mock_exam_name text,
    mock_type text,
    exam_date date,
    start_time text,
    end_time text,
    location text,
    capacity integer check (capacity >= 0),
    total_bookings integer not null default 0,
    is_active text check (is_active in ('active', 'inactive', 'scheduled')),
    opens_at timestamptz,
    starts_at timestamptz,
    seats_taken integer not null default 0 check (seats_taken >= 0),
    seats_version bigint not null default 1,
    created_at timestamptz,
    updated_at timestamptz,
    archived_at timestamptz,
    synced_at timestamptz not null default now()
);
create index hubspot_mock_exams_by_date on hubspot_sync.hubspot_mock_exams (exam_date) where archived_at is null;

create table hubspot_sync.hubspot_bookings (
    id uuid primary key default gen_random_uuid(),
    hubspot_id text not null unique,
    booking_key text,
    booking_id text,
    mock_exam_id text,
    contact_id text,
    student_id text,
    student_name text,
    student_email text,
    booking_status text,
    is_active text,
    attendance text,
    attending_location text,
    exam_date date,
    dominant_hand text,
    created_at timestamptz,
    updated_at timestamptz,
    archived_at timestamptz,
    synced_at timestamptz not null default now(),
    holds boolean generated always as (
        hubspot_sync.holds_seat(booking_status, is_active) and archived_at is null
    ) stored
);
create index hubspot_bookings_by_exam on hubspot_sync.hubspot_bookings (mock_exam_id) where holds;
create index hubspot_bookings_by_contact on hubspot_sync.hubspot_bookings (contact_id, mock_exam_id);
create index hubspot_bookings_by_key on hubspot_sync.hubspot_bookings (booking_key);
create index hubspot_bookings_by_booking_id on hubspot_sync.hubspot_bookings (booking_id);
create index hubspot_bookings_newest on hubspot_sync.hubspot_bookings (exam_date desc nulls last, hubspot_id desc);

create table hubspot_sync.hubspot_contacts (
    id uuid primary key default gen_random_uuid(),
    hubspot_id text not null unique,
    student_id text,
    email text,
    firstname text,
    lastname text,
    created_at timestamptz,
    updated_at timestamptz,
    archived_at timestamptz,
    synced_at timestamptz not null default now()
);

create table hubspot_sync.claims (
    claim_id uuid primary key,
    booking_id text not null unique,
    exam_id text not null,
    contact_id text not null,
    caller text not null,
    request_id text not null,
    idempotency_key text,
    fingerprint text not null default '',
    properties jsonb not null default '{}',
    state text not null default 'open' check (state in ('open', 'booked', 'cancelled', 'refused')),
    hubspot_id text,
    reason text,
    cancel_requested_at timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
create unique index claims_one_seat on hubspot_sync.claims (contact_id, exam_id) where state in ('open', 'booked');
create unique index claims_one_key on hubspot_sync.claims (caller, idempotency_key)
    where idempotency_key is not null;
create index claims_open_by_exam on hubspot_sync.claims (exam_id) where state = 'open';
create index claims_shown_by_contact on hubspot_sync.claims (contact_id) where hubspot_id is null;
create index claims_by_hubspot_id on hubspot_sync.claims (hubspot_id) where hubspot_id is not null;

create table hubspot_sync.outbox (
    outbox_id bigint generated always as identity primary key,
    kind text not null check (kind in ('create', 'cancel', 'link_contact', 'link_exam', 'count')),
    state text not null default 'waiting'
        check (state in ('waiting', 'sent', 'mirrored', 'announced', 'done', 'aside', 'dropped')),
    claim_id uuid,
    booking_id text,
    hubspot_id text,
    exam_id text,
    contact_id text,
    caller text,
    request_id text,
    attempts integer not null default 0,
    sent_term bigint,
    sent_at timestamptz,
    not_before timestamptz not null default now(),
    uncertain boolean not null default false,
    verify_at timestamptz,
    last_error text,
    created_at timestamptz not null default now(),
    done_at timestamptz
);
create index outbox_open on hubspot_sync.outbox (kind, outbox_id) where state in ('waiting', 'sent');
create index outbox_unannounced on hubspot_sync.outbox (outbox_id) where state = 'mirrored';
create index outbox_to_verify on hubspot_sync.outbox (verify_at) where verify_at is not null;
create index outbox_by_booking on hubspot_sync.outbox (booking_id, kind);
create index outbox_by_record on hubspot_sync.outbox (hubspot_id, kind) where hubspot_id is not null;
create unique index outbox_one_count on hubspot_sync.outbox (exam_id) where kind = 'count' and state = 'waiting';

create table hubspot_sync.relay_lease (
    only_one boolean primary key default true check (only_one),
    holder text,
    term bigint not null default 0,
    expires_at timestamptz not null default '-infinity'
);
insert into hubspot_sync.relay_lease default values;

create table hubspot_sync.audit_log (
    id uuid primary key default gen_random_uuid(),
    table_name text not null,
    operation text not null,
    record_id text,
    performed_at timestamptz not null default now(),
    performed_by text not null,
    request_id text,
    old_values jsonb,
    new_values jsonb
);
create index audit_log_by_record on hubspot_sync.audit_log (record_id, performed_at);

create table hubspot_sync.cursors (
    name text primary key,
    value jsonb not null,
    updated_at timestamptz not null default now()
);

do $$
declare
    name text;
begin
    foreach name in array array['hubspot_mock_exams', 'hubspot_bookings', 'hubspot_contacts', 'claims', 'outbox',
                                'relay_lease', 'audit_log', 'cursors']
    loop
        execute format('alter table hubspot_sync.%I enable row level security', name);
        execute format('create policy "Deny direct access to %s" on hubspot_sync.%I for all to anon, authenticated '
                       'using (false) with check (false)', name, name);
    end loop;
end
$$;
revoke all on all tables in schema hubspot_sync from public, anon, authenticated, service_role;
revoke all on all functions in schema hubspot_sync from public, anon, authenticated, service_role;

-- Purpose: take changes of exams: check, tighten at once, queue for HubSpot; and say what became of one.
-- Inputs: {"change_id", "kind", "exam_id", "exam_key", "fields", "cancel_bookings", "caller", "request_id", "timezone"}.
-- Results: {"outcome", "details", "change", "gates", "contacts", "exams_changed"}.
-- Invariant: I1 what tightens binds from here on, what loosens does not; a change accepted is durable and ends.

-- Bind what the changes under way tighten, and lift what none of them tightens any more. The exams are locked.
create or replace function hubspot_sync.bind_exams(exam_ids text[]) returns text[]
    language sql set search_path = hubspot_sync, pg_temp as $$
    with bound as (
        update hubspot_mock_exams e set capacity_bound = p.seats, shut = p.shut, seats_version = e.seats_version + 1
          from (select x.hubspot_id, min((o.fields ->> 'capacity')::integer) as seats,
                       shut_because(x) is not null as shut
                  from hubspot_mock_exams x
                  left join outbox o on o.exam_id = x.hubspot_id and o.kind in ('exam_update', 'exam_archive')
                                    and o.state in ('waiting', 'sent')
                 where x.hubspot_id = any (exam_ids) group by x.id) p
         where e.hubspot_id = p.hubspot_id and (e.capacity_bound, e.shut) is distinct from (p.seats, p.shut)
        returning e.hubspot_id
    )
    select coalesce(array_agg(hubspot_id), '{}') from bound
$$;

create or replace function hubspot_sync.staff_exam_json(e hubspot_sync.hubspot_mock_exams) returns jsonb
    language plpgsql stable set search_path = hubspot_sync, pg_temp as $$
begin
    return exam_json(e) || jsonb_build_object('exam_key', e.exam_key, 'archived_at', e.archived_at);
end
$$;

create or replace function hubspot_sync.change_json(o hubspot_sync.outbox) returns jsonb
    language sql stable set search_path = hubspot_sync, pg_temp as $$
    select jsonb_build_object(
        'change_id', o.change_id, 'outbox_id', o.outbox_id, 'kind', o.kind,
        'status', case when o.state in ('waiting', 'sent') then 'pending' when o.state = 'aside' then 'refused'
                       else 'done' end,
        'reason', case when o.state = 'aside' then o.last_error end,
        'exam_id', coalesce(o.hubspot_id, o.exam_id),
        'exam', (select staff_exam_json(e) from hubspot_mock_exams e
                  where e.hubspot_id = coalesce(o.hubspot_id, o.exam_id)))
$$;

-- A change of this exam that stands for the wish: a second click on delete or restore finds the first.
create or replace function hubspot_sync.change_that_does(wish jsonb) returns bigint
    language sql stable set search_path = hubspot_sync, pg_temp as $$
    select o.outbox_id from outbox o
      left join hubspot_mock_exams made on made.hubspot_id = o.hubspot_id
     where o.exam_id = wish ->> 'exam_id' and o.kind = wish ->> 'kind'
       and case o.kind when 'exam_archive' then o.state in ('waiting', 'sent')
                       when 'exam_restore' then o.state in ('waiting', 'sent')
                                             or (o.state in ('mirrored', 'announced') and made.archived_at is null)
                       else false end
     order by o.outbox_id desc limit 1
$$;

-- Why a wish cannot be taken: {"outcome", "details"}; null when it can. The exam is locked.
create or replace function hubspot_sync.refuse_change(
    wish jsonb, exam hubspot_sync.hubspot_mock_exams, after hubspot_sync.hubspot_mock_exams
) returns jsonb language plpgsql stable set search_path = hubspot_sync, pg_temp as $$
declare
    kind text := wish ->> 'kind';
    fields jsonb := wish -> 'fields';
    ended integer;
begin
    if kind = 'exam_restore' and exam.archived_at is null and exam.hubspot_id is not null then
        return '{"outcome": "not_deleted"}';
    end if;
    if kind <> 'exam_create' and exam.hubspot_id is null
       or kind in ('exam_update', 'exam_archive') and exam.archived_at is not null
       or kind = 'exam_update' and exists (select from outbox o where o.exam_id = exam.hubspot_id
                and o.kind = 'exam_archive' and o.state in ('waiting', 'sent')) then
        return '{"outcome": "unknown_exam"}';
    end if;
    -- Nobody could book it any more, and who is booked would learn of it too late. A past exam's record may be put right.
    if kind = 'exam_update' and fields ?| '{exam_date,start_time}' and closes_at(after) <= now()
       and coalesce(closes_at(exam) > now(), true) then
        return jsonb_build_object('outcome', 'starts_in_the_past', 'details', jsonb_build_object(
            'exam_date', after.exam_date, 'start_time', after.start_time));
    end if;
    if fields ?| '{start_time,end_time}' and after.end_time <= after.start_time then
        return jsonb_build_object('outcome', 'end_before_start', 'details', jsonb_build_object(
            'start_time', after.start_time, 'end_time', after.end_time));
    end if;
    if fields ?| '{opens_at,exam_date,start_time}' and after.opens_at >= after.starts_at then
        return jsonb_build_object('outcome', 'opens_after_start', 'details', jsonb_build_object(
            'opens_at', after.opens_at, 'starts_at', after.starts_at));
    end if;
    -- Race: a claim between this check and the change would be sold beyond it; the exam's lock keeps claims out.
    if (fields ->> 'capacity')::integer < exam.seats_taken then
        return jsonb_build_object('outcome', 'below_sold', 'details', jsonb_build_object(
            'capacity', (fields ->> 'capacity')::integer, 'seats_taken', exam.seats_taken));
    end if;
    if kind = 'exam_archive' and exam.seats_taken > 0 then
        -- Attendance is marked: such a booking can no longer be cancelled.
        select count(*) into ended from hubspot_bookings b
         where b.mock_exam_id = exam.hubspot_id and b.holds and lower(b.is_active) = 'completed';
        if ended > 0 or not coalesce((wish ->> 'cancel_bookings')::boolean, false) then
            return jsonb_build_object('outcome', 'has_bookings', 'details', jsonb_build_object(
                'bookings', exam.seats_taken, 'completed', ended));
        end if;
    end if;
    return null;
end
$$;

-- Cancel every booking that holds a seat of this exam, each as if it were asked for alone; returns the contacts.
create or replace function hubspot_sync.cancel_all(found_exam text, wish jsonb) returns jsonb
    language sql set search_path = hubspot_sync, pg_temp as $$
    select coalesce(jsonb_agg(distinct a.o ->> 'contact_id'), '[]') from (
        select cancel_one(jsonb_build_object('reference', h.reference, 'caller', wish ->> 'caller',
                                             'request_id', wish ->> 'request_id')) as o
          from (select c.booking_id as reference from claims c where c.exam_id = found_exam and c.state = 'open'
                union select b.hubspot_id from hubspot_bookings b where b.mock_exam_id = found_exam and b.holds) h
    ) a where a.o ->> 'contact_id' is not null
$$;

-- What a change sets, with the instants that follow from it; a restored exam gets what it had.
create or replace function hubspot_sync.fields_wanted(
    wish jsonb, exam hubspot_sync.hubspot_mock_exams
) returns jsonb language plpgsql stable set search_path = hubspot_sync, pg_temp as $$
declare
    fields jsonb := coalesce(wish -> 'fields', '{}');
    after hubspot_mock_exams;
begin
    if wish ->> 'kind' = 'exam_restore' then
        select coalesce(jsonb_object_agg(f.key, f.value), '{}') into fields from jsonb_each(to_jsonb(exam)) f
         where f.key in ('mock_exam_name', 'mock_type', 'exam_date', 'start_time', 'end_time', 'location', 'capacity',
                         'is_active', 'opens_at', 'starts_at') and f.value <> 'null';
    elsif fields ?| '{exam_date,start_time}' then
        after := jsonb_populate_record(intended(exam, 9223372036854775807), fields);
        fields := fields || jsonb_build_object(
            'starts_at', (after.exam_date + after.start_time::time) at time zone (wish ->> 'timezone'),
            'day_ends_at', (after.exam_date + 1)::timestamp at time zone (wish ->> 'timezone'));
    end if;
    return fields;
end
$$;

-- What a change may have changed in what people see: its exam's gate, and the students whose list shows that exam.
create or replace function hubspot_sync.news_of_change(o hubspot_sync.outbox) returns jsonb
    language sql stable set search_path = hubspot_sync, pg_temp as $$
    select jsonb_build_object(
        'gates', gates_of(array[o.exam_id, o.hubspot_id]), 'exams_changed', true,
        'contacts', (select coalesce(jsonb_agg(x.contact_id), '[]') from (
             select b.contact_id from hubspot_bookings b where b.mock_exam_id = o.exam_id
             union
             select c.contact_id from claims c where c.exam_id = o.exam_id and c.hubspot_id is null) x
          where x.contact_id is not null))
$$;

create or replace function lastseat_api.change_exam(args jsonb) returns jsonb
    language plpgsql security definer set search_path = hubspot_sync, pg_temp as $$
declare
    exam hubspot_mock_exams;
    before hubspot_mock_exams;
    change outbox;
    fields jsonb;
    refusal jsonb;
    contacts jsonb := '[]';
    bound text[];
begin
    select * into exam from hubspot_mock_exams e where e.hubspot_id = args ->> 'exam_id' for update;
    select * into change from outbox o where o.change_id = (args ->> 'change_id')::uuid;
    if change.outbox_id is null then
        select * into change from outbox o where o.outbox_id = change_that_does(args);
    elsif (change.kind, change.fields - '{starts_at,day_ends_at}'::text[]) is distinct from
          (args ->> 'kind', case when change.kind = 'exam_restore' then change.fields else args -> 'fields' end
                            - '{starts_at,day_ends_at}'::text[])
       or change.kind <> 'exam_create' and change.exam_id is distinct from args ->> 'exam_id' then
        return '{"outcome": "key_reused"}';
    end if;
    if change.outbox_id is not null then
        -- Crash: a change whose answer was lost is asked for again; only then everybody hears of it.
        return jsonb_build_object('outcome', 'known', 'change', change_json(change)) || news_of_change(change);
    end if;

    before := intended(exam, 9223372036854775807);
    fields := fields_wanted(args, exam);
    refusal := refuse_change(args, exam, jsonb_populate_record(before, fields));
    if refusal is not null then
        return refusal;
    end if;
    insert into outbox (kind, change_id, exam_id, exam_key, fields, caller, request_id)
    values (args ->> 'kind', (args ->> 'change_id')::uuid, exam.hubspot_id, args ->> 'exam_key', fields,
            args ->> 'caller', args ->> 'request_id')
    on conflict do nothing returning * into change;
    if change.outbox_id is null then
        -- Race: the same new exam was asked for twice at once; it is there now.
        return lastseat_api.change_exam(args);
    end if;
    -- The instant under the lock, not the transaction's begin: claims that began later have seen the tightening.
    insert into audit_log (table_name, operation, record_id, performed_at, performed_by, request_id, old_values,
                           new_values)
    values ('hubspot_mock_exams', upper(change.kind), coalesce(exam.hubspot_id, change.exam_key), clock_timestamp(),
            change.caller, change.request_id,
            (select jsonb_object_agg(k.key, to_jsonb(before) -> k.key) from jsonb_object_keys(fields) k (key)), fields);
    if change.kind = 'exam_archive' and exam.seats_taken > 0 then
        contacts := cancel_all(exam.hubspot_id, args);
    end if;
    bound := bind_exams(array[exam.hubspot_id]);
    return jsonb_build_object(
        'outcome', 'accepted', 'change', change_json(change), 'gates', gates_of(array[exam.hubspot_id]),
        'contacts', contacts, 'exams_changed', bound <> '{}');
end
$$;

-- How far a change is. Race: it may have ended while its announcement is still to come; then its news come with it.
create or replace function lastseat_api.exam_change(args jsonb) returns jsonb
    language sql stable security definer set search_path = hubspot_sync, pg_temp as $$
    select coalesce((select jsonb_build_object('change', change_json(o))
                            || case when o.state = 'mirrored' or not o.told then news_of_change(o) else '{}' end
                       from outbox o where o.change_id = (args ->> 'change_id')::uuid), '{"change": null}')
$$;

-- An archive whose cancels have ended and that still has bookings cannot be: HubSpot refused a cancel, or a booking
-- was made there. Returns the rows set aside. The exams are locked.
create or replace function hubspot_sync.refuse_archives(exam_ids text[]) returns bigint[]
    language sql set search_path = hubspot_sync, pg_temp as $$
    with hopeless as (
        update outbox o set state = 'aside', told = false, done_at = now(),
               last_error = format('%s bookings of this exam could not be cancelled', e.seats_taken)
          from hubspot_mock_exams e
         where o.exam_id = any (exam_ids) and o.kind = 'exam_archive' and o.state = 'waiting'
           and e.hubspot_id = o.exam_id and e.seats_taken > 0
           and not exists (select from outbox p where p.exam_id = o.exam_id and p.kind in ('create', 'cancel')
                                                  and p.state in ('waiting', 'sent'))
        returning o.*
    ), audited as (
        insert into audit_log (table_name, operation, record_id, performed_by, request_id, new_values)
        select 'hubspot_mock_exams', 'REFUSED', h.exam_id, 'lastseat', h.request_id,
               jsonb_build_object('reason', h.last_error) from hopeless h
    )
    select coalesce(array_agg(h.outbox_id), '{}') from hopeless h
$$;

-- After HubSpot has spoken and the mirror has it: what a new exam is called there, and the columns only we keep.
create or replace function hubspot_sync.settle_exams(written jsonb, timezone text) returns void
    language plpgsql set search_path = hubspot_sync, pg_temp as $$
begin
    update outbox o set hubspot_id = w -> 'facts' ->> 'hubspot_id',
                        exam_id = coalesce(o.exam_id, w -> 'facts' ->> 'hubspot_id')
      from jsonb_array_elements(written) w
     where o.outbox_id = (w ->> 'outbox_id')::bigint
       and case when o.kind in ('exam_create', 'exam_restore') then o.state = 'sent' end;
    with changed as (
        select coalesce(o.hubspot_id, o.exam_id) as exam_id, o.kind, o.fields
          from outbox o join jsonb_array_elements(written) w on o.outbox_id = (w ->> 'outbox_id')::bigint
         where case when o.kind like 'exam%' then o.state = 'sent' end
    ), own as (
        -- The mirror takes a record only if it is newer; these columns are not HubSpot's to date. The start is
        -- reckoned again: an earlier change of the date may have been refused.
        update hubspot_mock_exams e set
            opens_at = case when c.fields ? 'opens_at' then (c.fields ->> 'opens_at')::timestamptz
                            else e.opens_at end,
            starts_at = case when c.fields ? 'starts_at' and e.start_time ~ '^([01][0-9]|2[0-3]):[0-5][0-9]$'
                             then (e.exam_date + e.start_time::time) at time zone timezone else e.starts_at end,
            seats_version = e.seats_version + 1
          from changed c where e.hubspot_id = c.exam_id and c.fields ?| '{opens_at,starts_at}'
    )
    update outbox o set state = 'dropped', done_at = now() from changed c
     where c.kind = 'exam_archive' and o.exam_id = c.exam_id and o.kind = 'count' and o.state = 'waiting';
end
$$;

-- News of exam changes, and everybody whose bookings show what changed.
create or replace function hubspot_sync.exam_outcomes(outbox_ids bigint[]) returns jsonb
    language sql stable set search_path = hubspot_sync, pg_temp as $$
    select coalesce(jsonb_agg(jsonb_build_object(
               'claim_id', null, 'booking_id', null, 'contact_id', null, 'exam_id', coalesce(o.hubspot_id, o.exam_id),
               'state', case o.state when 'aside' then 'refused' else 'done' end, 'reason', o.last_error,
               'outbox_id', o.outbox_id, 'exam', change_json(o) -> 'exam')), '[]')
      from outbox o
     where o.outbox_id = any (outbox_ids)
       and case when o.kind like 'exam%' then o.state in ('mirrored', 'announced', 'aside') end
$$;

create or replace function hubspot_sync.contacts_of_changed(outbox_ids bigint[]) returns setof text
    language sql stable set search_path = hubspot_sync, pg_temp as $$
    with changed as (
        select distinct o.exam_id from outbox o
         where o.outbox_id = any (outbox_ids) and case o.kind when 'exam_update' then o.state = 'mirrored' end
           and o.fields ?| '{mock_exam_name,mock_type,location,exam_date,start_time,end_time}'
    )
    select b.contact_id from hubspot_bookings b join changed c on c.exam_id = b.mock_exam_id
    union
    select k.contact_id from claims k join changed c using (exam_id) where k.hubspot_id is null
$$;

-- An uncertain send may have landed over a later one. Where HubSpot holds what it brought and a later change of ours
-- had set something else, that is queued to be set again; what else HubSpot holds is returned, to be mirrored.
create or replace function hubspot_sync.put_right(looked jsonb) returns jsonb
    language plpgsql set search_path = hubspot_sync, pg_temp as $$
declare
    seen jsonb;
begin
    select coalesce(jsonb_agg(jsonb_build_object(
               'exam_id', f -> 'facts' ->> 'hubspot_id', 'facts', f -> 'facts', 'request_id', o.request_id,
               'wrong', (select coalesce(jsonb_object_agg(late.key, late.value), '{}') from (
                   select distinct on (k.key) k.key, k.value from outbox l cross join jsonb_each(l.fields) k
                    where l.exam_id = f -> 'facts' ->> 'hubspot_id' and l.kind = 'exam_update' and l.state <> 'aside'
                      and l.outbox_id > o.outbox_id
                    order by k.key, l.outbox_id desc) late
                where late.value is distinct from o.fields -> late.key
                  and o.fields -> late.key = f -> 'facts' -> 'fields' -> late.key))), '[]')
      into seen
      from jsonb_array_elements(looked) f
      join outbox o on o.outbox_id = (f ->> 'outbox_id')::bigint and case when o.kind like 'exam%' then true end
     where jsonb_typeof(f -> 'facts') = 'object';
    insert into outbox (kind, change_id, exam_id, fields, caller, request_id)
    select 'exam_update', gen_random_uuid(), s ->> 'exam_id', s -> 'wrong', 'lastseat', s ->> 'request_id'
      from jsonb_array_elements(seen) s where s -> 'wrong' <> '{}';
    insert into outbox (kind, change_id, exam_id, caller, request_id)
    select 'exam_archive', gen_random_uuid(), o.exam_id, 'lastseat', o.request_id
      from jsonb_array_elements(looked) f
      join outbox o on o.outbox_id = (f ->> 'outbox_id')::bigint and case o.kind when 'exam_archive' then true end
      join hubspot_mock_exams e on e.hubspot_id = o.exam_id and e.archived_at is not null
     where jsonb_typeof(f -> 'facts') = 'object' and change_that_does(jsonb_build_object(
           'kind', 'exam_archive', 'exam_id', o.exam_id)) is null;
    return (select coalesce(jsonb_agg(jsonb_set(s -> 'facts', '{fields}', (s -> 'facts' -> 'fields') - array(
                       select jsonb_object_keys(s -> 'wrong')))), '[]') from jsonb_array_elements(seen) s);
end
$$;

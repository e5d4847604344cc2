-- Purpose: how the functions that work on a few rows are planned; those that read whole tables are not named here.
-- Inputs: the functions defined before.
-- Results: their settings, which what they call inherits.
-- Invariant: what a call costs depends on the rows it names, not on the rows there are, nor on when it was planned.

-- Each row is looked up by an index, and the plan is made once for each connection. Left alone, the planner expects a
-- hundred rows from every list and joins whole tables to the one row there is (measured with 20,000 bookings: 27 ms to
-- settle a booking, 0.7 ms like this); a plan made while the tables were empty goes on reading all of them; and planning
-- anew costs more than the work. Compiling does too, and the older planners would begin to, since a setting that is
-- off makes what cannot do without it look expensive.
do $$
declare
    found regprocedure;
    among text;
begin
    for found in
        select f.oid::regprocedure from pg_proc f
         where f.pronamespace = 'lastseat_api'::regnamespace
           and f.proname = any ('{claim,lookup,outcomes,cancel,move_booking,change_exam,exam_change,mirror,mirror_page,
               backlog,send,settle,unannounced,announced,to_verify,verified,set_aside,retry_aside,exam,bookings,booking,
               all_bookings,exam_bookings,all_exams,staff_exam,warm}')
    loop
        execute format('alter function %s set enable_seqscan = off', found);
        execute format('alter function %s set jit = off', found);
        execute format('alter function %s set plan_cache_mode = force_generic_plan', found);
        -- A rush's wishes are joined to each other; that is for a hash, and their look-ups cannot become joins. Said
        -- also where it is on: a move asks for a claim, and would hand on its own.
        among := case when found::text ~ '\.(claim|lookup|outcomes)\(' then 'on' else 'off' end;
        execute format('alter function %s set enable_hashjoin = %s', found, among);
        execute format('alter function %s set enable_mergejoin = %s', found, among);
        -- What the relay asks at every turn: a bitmap does not clear an index of what is no longer so.
        if found::text ~ '\.(backlog|send|unannounced)\(' then
            execute format('alter function %s set enable_bitmapscan = off', found);
        end if;
    end loop;
end
$$;

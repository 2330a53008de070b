#include "handoff_counts.h"

#include "../board/deaths.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A list of numbers as text: "3,0,17". */
static void print_numbers(char text[static STATE_NUMBERS], const _Atomic uint64_t *numbers,
                          int count)
{
    int at = 0;
    for (int i = 0; i < count && at < STATE_NUMBERS; i++)
        at += snprintf(text + at, (size_t)(STATE_NUMBERS - at), "%s%llu", i ? "," : "",
                       (unsigned long long)numbers[i]);
}

static void read_numbers(const char *text, _Atomic uint64_t *numbers, int count)
{
    char *end;
    for (int i = 0; i < count && *text; i++) {
        numbers[i] = strtoull(text, &end, 10);
        text = *end == ',' ? end + 1 : "";
    }
}

/* As text, a histogram is its sum, and then its classes. */
static void print_histogram(char text[static STATE_NUMBERS], const struct histogram *histogram)
{
    _Atomic uint64_t all[HISTOGRAM_CLASSES + 1];
    all[0] = histogram->sum;
    for (int i = 0; i < HISTOGRAM_CLASSES; i++)
        all[i + 1] = histogram->classes[i];
    print_numbers(text, all, HISTOGRAM_CLASSES + 1);
}

static void read_histogram(const char *text, struct histogram *histogram)
{
    _Atomic uint64_t all[HISTOGRAM_CLASSES + 1] = {0};
    read_numbers(text, all, HISTOGRAM_CLASSES + 1);
    histogram->sum = all[0];
    for (int i = 0; i < HISTOGRAM_CLASSES; i++)
        histogram->classes[i] = all[i + 1];
}

void handoff_print_counts(struct state_counts *saved, const struct slot_counts *counts)
{
    _Atomic uint64_t refused[REFUSALS];
    for (int i = 0; i < REFUSALS; i++)
        refused[i] = counts->refused[i];
    saved->accepted = (long long)counts->accepted;
    saved->served = (long long)counts->served;
    saved->errors = (long long)counts->errors;
    saved->bytes_in = (long long)counts->bytes_in;
    saved->bytes_out = (long long)counts->bytes_out;
    print_numbers(saved->refused, refused, REFUSALS);
    print_histogram(saved->service, &counts->service);
    print_histogram(saved->wait, &counts->wait);
}

void handoff_read_counts(const struct state_counts *saved, struct slot_counts *counts)
{
    _Atomic uint64_t refused[REFUSALS] = {0};
    *counts = (struct slot_counts){
        .accepted = (uint64_t)saved->accepted,
        .served = (uint64_t)saved->served,
        .errors = (uint64_t)saved->errors,
        .bytes_in = (uint64_t)saved->bytes_in,
        .bytes_out = (uint64_t)saved->bytes_out,
    };
    read_numbers(saved->refused, refused, REFUSALS);
    for (int i = 0; i < REFUSALS; i++)
        counts->refused[i] = refused[i];
    read_histogram(saved->service, &counts->service);
    read_histogram(saved->wait, &counts->wait);
}

static void print_bytes(char *text, const void *from, size_t size)
{
    const unsigned char *at = from;
    for (size_t i = 0; i < size; i++)
        sprintf(text + 2 * i, "%02x", at[i]);
}

static void read_bytes(const char *text, void *to, size_t size)
{
    unsigned char *at = to;
    unsigned byte;
    for (size_t i = 0; i < size && sscanf(text + 2 * i, "%2x", &byte) == 1; i++)
        at[i] = (unsigned char)byte;
}

_Static_assert(2 * sizeof(struct slot_peer) < STATE_NAME, "a peer has room");

bool handoff_save_deaths(const struct overview *overview, struct state *state)
{
    struct death *list = calloc(SCOREBOARD_DEATHS, sizeof *list);
    int count = list ? deaths_list(overview, list) : 0;
    bool whole = list;
    for (int i = 0; whole && i < count; i++) {
        const struct death *death = &list[i];
        struct state_death *saved = state_add(state, STATE_DEATH);
        whole = saved;
        if (!saved)
            break;
        *saved = (struct state_death){
            .number = (long long)death->number,
            .when = death->when,
            .pid = death->pid,
            .generation = death->generation,
            .status = death->status,
            .cause = death->cause,
            .age = death->age,
            .served = (long long)death->served,
            .cpu_user = death->cpu_user,
            .cpu_system = death->cpu_system,
            .memory = death->memory,
            .was_ready = death->was_ready,
            .out_of_memory = death->out_of_memory,
        };
        snprintf(saved->pool, sizeof saved->pool, "%s", death->pool);
        snprintf(saved->why, sizeof saved->why, "%s", death->why);
        snprintf(saved->core, sizeof saved->core, "%s", death->core);
        snprintf(saved->last, sizeof saved->last, "%s", death->last);
        print_bytes(saved->peer, &death->peer, sizeof death->peer);
    }
    free(list);
    return whole;
}

void handoff_adopt_deaths(struct overview *overview, const struct state *state)
{
    const struct state_death *saved;
    for (int i = 0; (saved = state_at(state, STATE_DEATH, i)); i++) {
        struct death death = {
            .when = saved->when,
            .pid = (pid_t)saved->pid,
            .generation = (uint32_t)saved->generation,
            .status = (int32_t)saved->status,
            .cause = (int32_t)saved->cause,
            .age = saved->age,
            .served = (uint64_t)saved->served,
            .cpu_user = saved->cpu_user,
            .cpu_system = saved->cpu_system,
            .memory = saved->memory,
            .was_ready = (uint32_t)saved->was_ready,
            .out_of_memory = (uint32_t)saved->out_of_memory,
        };
        snprintf(death.pool, sizeof death.pool, "%.*s", SCOREBOARD_NAME - 1, saved->pool);
        snprintf(death.why, sizeof death.why, "%.*s", SCOREBOARD_REASON - 1, saved->why);
        snprintf(death.core, sizeof death.core, "%.*s", SCOREBOARD_REASON - 1, saved->core);
        snprintf(death.last, sizeof death.last, "%.*s", (int)sizeof death.last - 1, saved->last);
        read_bytes(saved->peer, &death.peer, sizeof death.peer);
        overview->deaths_written = (uint64_t)saved->number - 1;
        deaths_write(overview, &death);
    }
}

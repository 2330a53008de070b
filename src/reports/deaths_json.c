#include "status.h"

#include "build-config.h"

#if HAVE_JANSSON

#include "../base/daemon.h"
#include "../base/json.h"
#include "../board/deaths.h"
#include "deaths_json.h"
#include "snapshot.h"

#include <stdlib.h>
#include <sys/wait.h>

enum { SCHEMA = 1 };

static void put_how(json_t *object, const struct death *death)
{
    uint32_t cause = (uint32_t)death->cause;
    bool exited = WIFEXITED(death->status);
    json_object_set_new(object, "exit",
                        exited ? json_integer(WEXITSTATUS(death->status)) : json_null());
    json_text(object, "signal", exited ? NULL : daemon_signal_word(WTERMSIG(death->status)));
    json_text(object, "cause", cause < DEATH_CAUSES ? death_cause_words[cause] : NULL);
    json_field(object, "why", death->why, sizeof death->why);
    json_flag(object, "core", WCOREDUMP(death->status));
    json_field(object, "core_text", death->core, sizeof death->core);
    json_flag(object, "out_of_memory", death->out_of_memory);
}

static void put_life(json_t *object, const struct death *death)
{
    char peer[ADDR_TEXT];
    json_flag(object, "ready", death->was_ready);
    json_seconds(object, "age", death->age);
    json_number(object, "served", (long long)death->served);
    json_number(object, "connections", death->in_hand);
    json_text(object, "peer", snapshot_peer(&death->peer, peer));
    json_exact(object, "cpu_user", death->cpu_user);
    json_exact(object, "cpu_system", death->cpu_system);
    json_number(object, "memory", death->memory);
    json_field(object, "last", death->last, sizeof death->last);
}

static json_t *death_object(const struct death *death)
{
    json_t *object = json_object();
    json_number(object, "number", (long long)death->number);
    json_time(object, "time", death->when);
    json_field(object, "pool", death->pool, sizeof death->pool);
    json_number(object, "pid", death->pid);
    json_number(object, "generation", death->generation);
    put_how(object, death);
    put_life(object, death);
    return object;
}

json_t *deaths_array(const struct overview *overview)
{
    struct death *list = calloc(SCOREBOARD_DEATHS, sizeof *list);
    json_t *array = list ? json_array() : NULL;
    int count = list ? deaths_list(overview, list) : 0;
    for (int i = 0; i < count; i++)
        json_array_append_new(array, death_object(&list[i]));
    free(list);
    return array;
}

char *deaths_json(const struct overview *overview)
{
    json_t *document = json_object();
    json_number(document, "version", SCHEMA);
    json_number(document, "count", (long long)overview->deaths_written);
    json_object_set_new(document, "deaths", deaths_array(overview));
    return json_print(document);
}

#else

#include <stddef.h>

char *deaths_json(const struct overview *overview)
{
    (void)overview;
    return NULL;
}

#endif

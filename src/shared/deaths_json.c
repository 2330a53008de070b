#include "status.h"

#include "build-config.h"

#if HAVE_JANSSON

#include "../base/document.h"
#include "../base/proc.h"
#include "deaths.h"
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
    document_text(object, "signal", exited ? NULL : proc_signal_word(WTERMSIG(death->status)));
    document_text(object, "cause", cause < DEATH_CAUSES ? death_cause_words[cause] : NULL);
    document_field(object, "why", death->why, sizeof death->why);
    document_flag(object, "core", WCOREDUMP(death->status));
    document_field(object, "core_text", death->core, sizeof death->core);
    document_flag(object, "out_of_memory", death->out_of_memory);
}

static void put_life(json_t *object, const struct death *death)
{
    char peer[ADDR_TEXT];
    document_flag(object, "ready", death->was_ready);
    document_seconds(object, "age", death->age);
    document_number(object, "served", (long long)death->served);
    document_text(object, "peer", snapshot_peer(&death->peer, peer));
    document_seconds(object, "cpu_user", death->cpu_user);
    document_seconds(object, "cpu_system", death->cpu_system);
    document_number(object, "memory", death->memory);
    document_field(object, "last", death->last, sizeof death->last);
}

static json_t *death_object(const struct death *death)
{
    json_t *object = json_object();
    document_number(object, "number", (long long)death->number);
    document_time(object, "time", death->when);
    document_field(object, "pool", death->pool, sizeof death->pool);
    document_number(object, "pid", death->pid);
    document_number(object, "generation", death->generation);
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
    document_number(document, "version", SCHEMA);
    document_number(document, "count", (long long)overview->deaths_written);
    json_object_set_new(document, "deaths", deaths_array(overview));
    return document_print(document);
}

#else

#include <stddef.h>

char *deaths_json(const struct overview *overview)
{
    (void)overview;
    return NULL;
}

#endif

#include "report.h"

#include "build-config.h"

#if HAVE_JANSSON

#include "../base/json.h"
#include "../base/text.h"
#include "../base/units.h"
#include "status_view.h"

#include <string.h>

bool report_ask(struct message_request *request)
{
    bool status = strcmp(request->words[0], "status") == 0;
    if (!status && strcmp(request->words[0], "deaths") != 0)
        return false;
    for (int i = 1; i < request->count; i++)
        if (strcmp(request->words[i], "--json") == 0)
            return false;
    if (request->count + 2 > MESSAGE_WORDS)
        return false;
    request->words[request->count++] = "--json";
    if (status && request->count == 2)
        request->words[request->count++] = "--brief";
    return true;
}

static void print_death(FILE *out, const json_t *death)
{
    struct field time, pool, text;
    char age[UNITS_TEXT], user[UNITS_TEXT], system[UNITS_TEXT], memory[UNITS_TEXT];
    fprintf(out, "%s pool %s: worker %lld ", field_text(death, "time", &time),
            field_text(death, "pool", &pool), field_number(death, "pid"));
    fprintf(out, "%s\n", field_text(death, "why", &text));
    fprintf(out, "  age %s%s", units_span(field_span(death, "age"), age),
            json_is_false(json_object_get(death, "ready")) ? " and never ready" : "");
    if (json_is_integer(json_object_get(death, "served"))) /* it was no program of app */
        fprintf(out, ", %lld served", field_number(death, "served"));
    fprintf(out, ", generation %lld\n", field_number(death, "generation"));
    fprintf(out, "  CPU %s user and %s system, memory %s at its peak\n",
            units_span(field_span(death, "cpu_user"), user),
            units_span(field_span(death, "cpu_system"), system),
            units_size(field_number(death, "memory"), memory));
    if (field_text(death, "core_text", &text)[0])
        fprintf(out, "  core: %s\n", text.text);
    if (field_text(death, "peer", &text)[0])
        fprintf(out, "  serving %s\n", text.text);
    else if (field_number(death, "connections") > 1)
        fprintf(out, "  serving %lld connections\n", field_number(death, "connections"));
    if (field_text(death, "last", &text)[0])
        fprintf(out, "  last line of standard error: %s\n", text.text);
}

static bool show(FILE *out, const json_t *document, const struct view_options *options)
{
    const json_t *deaths = json_object_get(document, "deaths");
    struct field error;
    size_t i;
    json_t *death;
    if (json_is_array(json_object_get(document, "pools")))
        return status_view(out, document, options);
    if (!json_is_array(deaths)) {
        fprintf(out, "%s\n", field_text(document, "error", &error));
        return error.text[0];
    }
    if (json_array_size(deaths) == 0)
        fputs("no worker has ended unexpectedly\n", out);
    json_array_foreach(deaths, i, death) print_death(out, death);
    return true;
}

char *report_show(const char *json, size_t size, const struct view_options *options)
{
    struct text text;
    json_t *document = json_loadb(json, size, 0, NULL);
    char *shown = NULL;
    if (document && text_open(&text))
        shown = text_close(&text, show(text.out, document, options));
    json_decref(document);
    return shown;
}

#else

#include <stdlib.h>

bool report_ask(struct message_request *request)
{
    (void)request;
    return false;
}

char *report_show(const char *json, size_t size, const struct view_options *options)
{
    (void)json, (void)size, (void)options;
    return NULL;
}

#endif

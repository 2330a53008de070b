#include "report.h"

#include "build-config.h"

#if HAVE_JANSSON

#include "../base/text.h"
#include "fields.h"
#include "views.h"

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

static bool show(FILE *out, const json_t *document, const struct wish *wish)
{
    struct field error;
    if (json_is_array(json_object_get(document, "pools")))
        return status_view(out, document, wish);
    if (json_is_array(json_object_get(document, "deaths"))) {
        deaths_view(out, json_object_get(document, "deaths"));
        return true;
    }
    fprintf(out, "%s\n", field_text(document, "error", &error));
    return error.text[0];
}

char *report_show(const char *json, size_t size, const struct wish *wish)
{
    struct text text;
    json_t *document = json_loadb(json, size, 0, NULL);
    char *shown = NULL;
    if (document && text_open(&text))
        shown = text_close(&text, show(text.out, document, wish));
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

char *report_show(const char *json, size_t size, const struct wish *wish)
{
    (void)json, (void)size, (void)wish;
    return NULL;
}

#endif

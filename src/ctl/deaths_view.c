#include "views.h"

#include "../base/units.h"
#include "fields.h"

static void print_death(FILE *out, const json_t *death)
{
    struct field time, pool, text;
    char age[UNITS_TEXT], user[UNITS_TEXT], system[UNITS_TEXT], memory[UNITS_TEXT];
    fprintf(out, "%s pool %s: worker %lld ", field_text(death, "time", &time),
            field_text(death, "pool", &pool), field_number(death, "pid"));
    fprintf(out, "%s\n", field_text(death, "why", &text));
    fprintf(out, "  age %s%s, %lld served, generation %lld\n",
            units_span(field_span(death, "age"), age),
            json_is_false(json_object_get(death, "ready")) ? " and never ready" : "",
            field_number(death, "served"), field_number(death, "generation"));
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

void deaths_view(FILE *out, const json_t *deaths)
{
    size_t i;
    json_t *death;
    if (json_array_size(deaths) == 0)
        fputs("no worker has ended unexpectedly\n", out);
    json_array_foreach(deaths, i, death) print_death(out, death);
}

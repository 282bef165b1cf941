// The TOML parser behind node/config_value.h: toml++ and nothing else; exceptions stay in this file.
#include "base/toml_library.hh"

// config_value.h cannot be included from C++ (C11 atomics below it); config_value.c offers these.
extern "C" {
struct cv;
struct cv *config_toml_new(int type, const char *source);
void config_toml_scalar(struct cv *v, const char *string, long long integer, double number, int boolean);
void config_toml_member(struct cv *table, const char *key, struct cv *value);
void config_toml_push(struct cv *list, struct cv *value);
struct cv *config_toml_parse(const char *text, size_t len, const char *source, char **message);
}

enum { TYPE_TABLE, TYPE_LIST, TYPE_STRING, TYPE_INT, TYPE_UINT, TYPE_FLOAT, TYPE_BOOL };

static cv *convert(const toml::node &node, const char *source)
{
    if (auto table = node.as_table()) {
        cv *v = config_toml_new(TYPE_TABLE, source);
        for (auto &&[key, value] : *table)
            config_toml_member(v, std::string(key.str()).c_str(), convert(value, source));
        return v;
    }
    if (auto array = node.as_array()) {
        cv *v = config_toml_new(TYPE_LIST, source);
        for (auto &&value : *array)
            config_toml_push(v, convert(value, source));
        return v;
    }
    if (auto s = node.as_string()) {
        cv *v = config_toml_new(TYPE_STRING, source);
        config_toml_scalar(v, s->get().c_str(), 0, 0, 0);
        return v;
    }
    if (auto i = node.as_integer()) {
        cv *v = config_toml_new(TYPE_INT, source);
        config_toml_scalar(v, nullptr, i->get(), 0, 0);
        return v;
    }
    if (auto f = node.as_floating_point()) {
        cv *v = config_toml_new(TYPE_FLOAT, source);
        config_toml_scalar(v, nullptr, 0, f->get(), 0);
        return v;
    }
    if (auto b = node.as_boolean()) {
        cv *v = config_toml_new(TYPE_BOOL, source);
        config_toml_scalar(v, nullptr, 0, 0, b->get());
        return v;
    }
    // Dates and times: no key takes one; keep the text so that the type error names it.
    cv *v = config_toml_new(TYPE_STRING, source);
    config_toml_scalar(v, "(date or time)", 0, 0, 0);
    return v;
}

struct cv *config_toml_parse(const char *text, size_t len, const char *source, char **message)
{
    try {
        toml::table table = toml::parse(std::string_view(text, len));
        return convert(table, source);
    } catch (const toml::parse_error &e) {
        std::string out = toml_error_text(e, std::string_view(text, len));
        *message = strdup(out.c_str());
        return nullptr;
    } catch (...) {
        *message = strdup("TOML parse error");
        return nullptr;
    }
}

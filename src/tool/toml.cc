// TOML as JSON text: toml++ and nothing else; exceptions stay in this file.
#include <sstream>

#include "base/toml_library.hh"

extern "C" bool toml_to_json(const char *text, size_t len, char **out);

// A heap text: the JSON, or (false) what is wrong with the TOML.
bool toml_to_json(const char *text, size_t len, char **out)
{
    try {
        std::ostringstream json;
        json << toml::json_formatter{toml::parse(std::string_view(text, len))};
        *out = strdup(json.str().c_str());
        return true;
    } catch (const toml::parse_error &e) {
        *out = strdup(toml_error_text(e, std::string_view(text, len)).c_str());
    } catch (...) {
        *out = strdup("TOML parse error");
    }
    return false;
}

// SPDX-License-Identifier: Apache-2.0
//
// An environment variable that a test sets. Not for tests on several threads.
#pragma once

#include <cstdlib>
#include <optional>
#include <string>

/// Sets a variable, or with a null value removes it, for as long as it lives.
class Variable {
public:
    Variable(const char* name, const char* value) : name_(name) {
        if (const char* const before = std::getenv(name)) before_ = before;
        set(value);
    }
    Variable(const Variable&) = delete;
    Variable& operator=(const Variable&) = delete;
    ~Variable() { set(before_ ? before_->c_str() : nullptr); }

private:
    void set(const char* value) const {
#if defined(_WIN32)
        _putenv_s(name_, value == nullptr ? "" : value);
#else
        value == nullptr ? ::unsetenv(name_) : ::setenv(name_, value, 1);
#endif
    }

    const char* name_;
    std::optional<std::string> before_;
};

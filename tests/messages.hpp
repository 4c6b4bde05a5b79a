// SPDX-License-Identifier: Apache-2.0
//
// How tests look at what an exception says.
#pragma once

#include <gtest/gtest.h>

#include <exception>
#include <string>

/// The message of the Exception that action() throws; fails where it throws none or another.
template <class Exception, class Action>
std::string message_of(const Action& action) {
    try {
        action();
    } catch (const Exception& error) {
        return error.what();
    } catch (const std::exception& error) {
        ADD_FAILURE() << "another exception: " << error.what();
        return {};
    }
    ADD_FAILURE() << "no exception";
    return {};
}

inline void expect_in(const std::string& part, const std::string& message) {
    EXPECT_NE(message.find(part), std::string::npos) << "'" << part << "' is not in: " << message;
}

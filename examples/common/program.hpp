// SPDX-License-Identifier: Apache-2.0
//
// The frame of every example: --help, arguments that nobody knows, errors that end the program with a message and a
// status.
#pragma once

#include <cstdlib>
#include <exception>
#include <functional>
#include <iostream>
#include <stdexcept>
#include <string>

#include "arguments.hpp"
#include "text.hpp"

namespace examples {

/// Parses the command line, answers --help, which `options` must have, else calls body(arguments), whose result is the
/// exit status. What is thrown becomes a message and status 1.
inline int run_program(const std::string& program, cxxopts::Options& options, int argc, char** argv,
                       const std::function<int(const cxxopts::ParseResult&)>& body) {
    try {
        const cxxopts::ParseResult arguments = options.parse(argc, argv);
        int status = EXIT_SUCCESS;
        if (arguments.count("help") != 0) {
            std::cout << options.help();
        } else if (!arguments.unmatched().empty()) {
            throw UsageError("unknown argument '" + arguments.unmatched().front() + "'; see --help");
        } else {
            status = body(arguments);
        }
        if (!std::cout.flush()) throw std::runtime_error("the results cannot be printed");
        return status;
    } catch (const std::exception& error) {
        std::cerr << program << ": " << reason(error) << '\n';
        return EXIT_FAILURE;
    }
}

}  // namespace examples

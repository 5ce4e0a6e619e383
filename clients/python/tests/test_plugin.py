"""The pytest plugin: a user's test files, run by pytest against the real program."""

import pytest

TWO_HUNDRED = """
import pytest

@pytest.mark.parametrize("number", range(200))
def test_isolated(greenroom, ivs, number):
    stage = ivs.create_stage(name=f"stage-{number}")["stage"]["arn"]
    alice = greenroom.join(stage, user_id=f"user-{number}", publish=True)
    with greenroom.fault("ListStages", exception="ConflictException", count=1):
        with pytest.raises(ivs.exceptions.ConflictException):
            ivs.list_stages()
    assert [one["name"] for one in ivs.list_stages()["stages"]] == [f"stage-{number}"]
    event = greenroom.wait_for_event("Participant Published")
    assert event.detail["user_id"] == f"user-{number}"
    assert [call.operation for call in greenroom.calls()] == ["CreateStage", "ListStages", "ListStages"]
    assert alice.leave().state == "DISCONNECTED"
"""


def outcomes_of(pytester, text, *options):
    pytester.makepyfile(text)
    return pytester.runpytest_subprocess("-p", "no:cacheprovider", *options)


def test_200_isolated_tests_run_in_parallel_against_one_server(pytester, greenroom_server):
    result = outcomes_of(pytester, TWO_HUNDRED, "-n", "8", f"--greenroom-endpoint={greenroom_server.endpoint}")
    result.assert_outcomes(passed=200)
    assert greenroom_server.account().calls() == []


def test_the_workers_share_one_server(pytester):
    text = """
        import os, pytest

        @pytest.mark.parametrize("number", range(8))
        def test_endpoint(greenroom, ivs, number):
            ivs.list_stages()
            with open("endpoints", "a") as file:
                file.write(f"{greenroom.endpoint} {os.environ['PYTEST_XDIST_WORKER']}\\n")
            with pytest.raises(Exception, match="other tests use this server"), greenroom.frozen():
                pass
    """
    outcomes_of(pytester, text, "-n", "2", "--greenroom-shared").assert_outcomes(passed=8)
    lines = (pytester.path / "endpoints").read_text().split()
    assert len(set(lines[::2])) == 1 and len(set(lines[1::2])) == 2


def test_each_worker_has_a_server_and_can_move_its_clock(pytester):
    text = """
        import os, pytest

        @pytest.mark.parametrize("number", range(8))
        def test_endpoint(greenroom, number):
            with greenroom.frozen() as clock:
                before = clock.now()
                assert (clock.advance(60) - before).total_seconds() == 60
            with open("endpoints", "a") as file:
                file.write(f"{greenroom.endpoint} {os.environ['PYTEST_XDIST_WORKER']}\\n")
    """
    outcomes_of(pytester, text, "-n", "2").assert_outcomes(passed=8)
    pairs = {tuple(line.split()) for line in (pytester.path / "endpoints").read_text().splitlines()}
    assert len(pairs) == len({endpoint for endpoint, _ in pairs}) == len({worker for _, worker in pairs}) == 2


def test_the_clock_resumes_and_the_account_is_empty_after_a_test(pytester):
    text = """
        account = None

        def test_one(greenroom, ivs):
            global account
            account = greenroom.account
            ivs.create_stage(name="lobby")
            greenroom.clock.freeze()

        def test_two(greenroom, greenroom_server):
            assert greenroom.account != account
            assert not greenroom.clock.is_frozen()
            assert greenroom_server.account(account).client().list_stages()["stages"] == []
    """
    outcomes_of(pytester, text).assert_outcomes(passed=2)


def test_a_failed_test_reports_the_last_calls_and_the_log(pytester):
    text = """
        def test_it(ivs):
            ivs.create_stage(name="lobby", tags={"team": "a"})
            assert False
    """
    result = outcomes_of(pytester, text)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*greenroom: last calls of account*", "*CreateStage {'name': 'lobby'*-> 200*"])
    result.stdout.fnmatch_lines(["*greenroom: log of the server during the test*", "*CreateStage*"])


def test_a_program_that_reads_the_environment_uses_the_account_of_the_test(pytester, monkeypatch):
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of-the-developer")
    monkeypatch.setenv("AWS_SECURITY_TOKEN", "of-the-developer")
    text = """
        import boto3, pytest

        @pytest.mark.parametrize("number", [1, 2])
        def test_it(greenroom, greenroom_environment, number):
            arn = boto3.client("ivs-realtime").create_stage(name="lobby")["stage"]["arn"]
            assert greenroom.account in arn
    """
    outcomes_of(pytester, text).assert_outcomes(passed=2)


def test_the_server_has_the_flags_of_the_ini_file(pytester):
    pytester.makeini("[pytest]\ngreenroom_arguments = --quotas stages=1\n")
    text = """
        import pytest

        def test_it(ivs):
            ivs.create_stage(name="lobby")
            with pytest.raises(ivs.exceptions.ServiceQuotaExceededException):
                ivs.create_stage(name="second")
    """
    outcomes_of(pytester, text).assert_outcomes(passed=1)


@pytest.mark.parametrize("option", ["--greenroom-endpoint=http://127.0.0.1:9", "--greenroom-bin=/no/such/program"])
def test_a_server_that_cannot_be_used_is_an_error(pytester, option):
    result = outcomes_of(pytester, "def test_it(ivs): pass", option)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*ServerError:*"])

"""Live calibration: answers in service, what turned out to be right, and whether guarantees still hold (layer L6).

    LiveAnswers (answers)    stores answers beside the review queue, draws the random share, deletes texts
    LiveRecorder (recorder)  what the answer service does with it
    post_outcome (outcomes)  what turned out to be right, later; refusals are kept in the audit trail
    LiveMonitor (monitor)    reads both, tests, and raises alarms
    summary                  decisions, calibration and coverage over time

The statistics are in `polymode.policy.monitoring`; nothing here knows HTTP but `routes`.
"""
